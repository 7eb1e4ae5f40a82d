# Needs: fetched files. Gives: results/weights/<name>.safetensors, pretrained weights, the same bytes everywhere.


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
