# Needs: prepared data. Gives: results/<study>/models/<run>/seed-<k>/{weights,snapshots}.safetensors, history.csv; and for runs
# whose objective's weight is searched: results/<study>/search/<run>.{json,csv}, with the first seed's network beside them.


rule search:
    input:
        unpack(search_inputs),
        code=code("search.py"),
    output:
        result=f"{RESULTS}/search/{{run}}.json",
        table=f"{RESULTS}/search/{{run}}.csv",
        weights=f"{RESULTS}/search/{{run}}/weights.safetensors",
        snapshots=f"{RESULTS}/search/{{run}}/snapshots.safetensors",
        history=f"{RESULTS}/search/{{run}}/history.csv",
        record=f"{RESULTS}/search/{{run}}/search.record.json",
    log:
        f"{LOGS}/search/{{run}}.log",
    threads: 1
    resources:
        **asks("search"),
    params:
        run=run_settings,
        study=PLAN.study,
        seed=lambda wildcards: first_seed(wildcards.run),
        device=PLAN.device,
        checkpoints=f"{RESULTS}/checkpoints",
    script:
        "../scripts/search.py"


rule train:
    input:
        unpack(training_inputs),
        code=code("train.py"),
    output:
        weights=f"{RESULTS}/models/{{run}}/seed-{{seed}}/weights.safetensors",
        snapshots=f"{RESULTS}/models/{{run}}/seed-{{seed}}/snapshots.safetensors",
        history=f"{RESULTS}/models/{{run}}/seed-{{seed}}/history.csv",
        record=f"{RESULTS}/models/{{run}}/seed-{{seed}}/train.record.json",
    log:
        f"{LOGS}/train/{{run}}/seed-{{seed}}.log",
    threads: 1
    resources:
        **asks("train"),
    params:
        run=run_settings,
        study=PLAN.study,
        device=PLAN.device,
        checkpoints=f"{RESULTS}/checkpoints",
    script:
        "../scripts/train.py"
