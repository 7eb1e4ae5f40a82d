"""Bring timm's pretrained weights of one network: from the mirror, timm's own cache or its hub."""

from geed.models.zoo import save_timm
from geed.provenance.job import job

with job(snakemake) as measured:
    measured |= save_timm(snakemake.wildcards.timm, snakemake.output.weights)
