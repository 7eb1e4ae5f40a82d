# Needs: trained networks and prepared data. Gives: results/<study>/measurements/<run>/seed-<k>/{table,per_image}.parquet:
# all layers x all group elements x all metrics x clean, corrupted and far-out-of-distribution data, one job a network; and
# results/<study>/readings.{csv,md}: what a published table leaves open, searched for the reading that fits best.


rule measure:
    input:
        weights=f"{RESULTS}/models/{{run}}/seed-{{seed}}/weights.safetensors",
        snapshots=f"{RESULTS}/models/{{run}}/seed-{{seed}}/snapshots.safetensors",
        data=evaluation_data,
        code=code("measure.py"),
    output:
        table=f"{RESULTS}/measurements/{{run}}/seed-{{seed}}/table.parquet",
        per_image=f"{RESULTS}/measurements/{{run}}/seed-{{seed}}/per_image.parquet",
        record=f"{RESULTS}/measurements/{{run}}/seed-{{seed}}/measure.record.json",
    log:
        f"{LOGS}/measure/{{run}}/seed-{{seed}}.log",
    threads: 1
    resources:
        **asks("measure"),
    params:
        run=run_settings,
        evaluations=evaluations,
        corruptions=PLAN.corruptions,
        device=PLAN.device,
        folder=f"{RESULTS}/data",
    script:
        "../scripts/measure.py"


# The one rule that gathers: a target, and what a very large study is built by in parts (--batch measured=1/4).
rule measured:
    input:
        measurements(PLAN.measured),
    log:
        f"{LOGS}/measured.log",
    localrule: True


rule orbit:
    input:
        weights=orbit_weights,
        data=orbit_data,
        code=code("orbit.py"),
    output:
        activations=f"{RESULTS}/measurements/overview.safetensors",
        record=f"{RESULTS}/measurements/overview.record.json",
    log:
        f"{LOGS}/orbit.log",
    resources:
        **asks("orbit"),
    params:
        settings=PLAN.overview,
        device=PLAN.device,
    script:
        "../scripts/orbit.py"


rule explain:
    input:
        weights=explained_weights,
        data=explained_data,
        code=code("explain.py"),
    output:
        recorded=f"{RESULTS}/measurements/explained.safetensors",
        record=f"{RESULTS}/measurements/explained.record.json",
    log:
        f"{LOGS}/explain.log",
    threads: 1
    resources:
        **asks("explain"),
    params:
        settings=PLAN.explained,
        runs=PLAN.explained_runs,
    script:
        "../scripts/explain.py"


rule readings:
    input:
        weights=readings_weights,
        data=readings_data,
        code=code("readings.py"),
    output:
        table=f"{RESULTS}/readings.csv",
        page=f"{RESULTS}/readings.md",
        record=f"{RESULTS}/readings.record.json",
    log:
        f"{LOGS}/readings.log",
    threads: 1
    resources:
        **asks("readings"),
    params:
        settings=PLAN.readings,
        runs=PLAN.readings_runs,
        device=PLAN.device,
    script:
        "../scripts/readings.py"
