"""Convert one file of pretrained weights to safetensors."""

from pathlib import Path

from geed.models.published import convert
from geed.provenance.job import job

with job(snakemake) as measured:
    measured |= convert(snakemake.wildcards.weights, snakemake.input.source, Path(snakemake.output.weights))
