# Needs: fetched files, or a connection. Gives: pretrained weights, results/weights/<name>.safetensors, the same bytes everywhere,
# and results/weights/timm/<name>.safetensors, timm's.


rule weights:
    input:
        source=published_weights,
    output:
        weights=ensure("results/weights/{weights}.safetensors", sha256=weights_checksum),
        record="results/weights/{weights}.record.json",
    log:
        "logs/weights/{weights}.log",
    localrule: True
    script:
        "../scripts/weights.py"


# No code among the inputs: a download is not repeated because of an edit; its checksum is in its record, and in those of its users.
rule timm_weights:
    output:
        weights="results/weights/timm/{timm}.safetensors",
        record="results/weights/timm/{timm}.record.json",
    log:
        "logs/weights/timm/{timm}.log",
    retries: 3
    localrule: True
    script:
        "../scripts/timm_weights.py"
