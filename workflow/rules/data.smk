# Needs: embedded data, the mirror or the canonical sources. Gives: results/sources/<file>, as they were published;
# results/<study>/data/<set>.safetensors, checked and split, and <set>.corrupted.safetensors, its test split under every
# corruption and severity.


# No code among the inputs: the checksum says what the file must be, so no edit can change it.
rule fetch:
    output:
        file=ensure(f"{SOURCES}/{{source}}", sha256=source_checksum),
        record=f"{SOURCES}/{{source}}.record.json",
    log:
        "logs/sources/{source}.log",
    retries: 3
    localrule: True
    script:
        "../scripts/fetch.py"


rule prepare:
    input:
        sources=set_sources,
        code=code("prepare.py"),
    output:
        data=f"{RESULTS}/data/{{set}}.safetensors",
        record=f"{RESULTS}/data/{{set}}.record.json",
    log:
        f"{LOGS}/prepare/{{set}}.log",
    resources:
        **asks("prepare"),
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
    resources:
        **asks("corrupt"),
    params:
        names=PLAN.corruptions["names"],
        severities=PLAN.corruptions["severities"],
    script:
        "../scripts/corrupt.py"
