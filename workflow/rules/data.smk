# Needs: embedded data, the mirror or the canonical sources. Gives: results/<study>/data/<set>.safetensors, checked and split,
# and <set>.corrupted.safetensors, its test split under every corruption and severity.


rule prepare:
    input:
        code=code("prepare.py"),
    output:
        data=f"{RESULTS}/data/{{set}}.safetensors",
        record=f"{RESULTS}/data/{{set}}.record.json",
    log:
        f"{LOGS}/prepare/{{set}}.log",
    retries: 2
    params:
        settings=set_settings,
    script:
        "../scripts/prepare.py"


rule corrupt:
    input:
        data=f"{RESULTS}/data/{{set}}.safetensors",
        code=code("corrupt.py"),
    output:
        data=f"{RESULTS}/data/{{set}}.corrupted.safetensors",
        record=f"{RESULTS}/data/{{set}}.corrupted.record.json",
    log:
        f"{LOGS}/corrupt/{{set}}.log",
    benchmark:
        f"{LOGS}/corrupt/{{set}}.benchmark.tsv"
    params:
        names=PLAN.corruptions["names"],
        severities=PLAN.corruptions["severities"],
    script:
        "../scripts/corrupt.py"
