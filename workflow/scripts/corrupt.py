"""Corrupt the test split of one data set, every corruption at every severity."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.corrupt import corrupt

with job(snakemake) as measured:
    measured |= corrupt(
        snakemake.wildcards.set,
        Path(snakemake.input.data),
        snakemake.params.names,
        snakemake.params.severities,
        Path(snakemake.output.data),
    )
