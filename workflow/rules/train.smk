# Needs: prepared data. Gives: results/<study>/models/<run>/seed-<k>/{weights,snapshots}.safetensors, history.csv.


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
    benchmark:
        f"{LOGS}/train/{{run}}/seed-{{seed}}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=training_memory,
    params:
        run=run_settings,
        study=PLAN.study,
        device=PLAN.device,
        checkpoints=f"{RESULTS}/checkpoints",
    script:
        "../scripts/train.py"
