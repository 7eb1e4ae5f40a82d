"""Prepare one data set: read it, check it, split it."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.prepare import prepare

SOURCES = "results/sources"  # what rule fetch brought, laid out as in a mirror

with job(snakemake) as measured:
    measured |= prepare(
        snakemake.wildcards.set,
        snakemake.params.settings,
        Path(snakemake.output.data),
        mirror=SOURCES if snakemake.input.get("sources") else None,
    )
