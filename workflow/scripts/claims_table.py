"""Gather the verdicts of a study into one table."""

from pathlib import Path

from geed.claims.table import write_tables
from geed.provenance.job import job

with job(snakemake):
    write_tables(
        [Path(path) for path in snakemake.input.results],
        csv=Path(snakemake.output.csv),
        markdown=Path(snakemake.output.markdown),
        json=Path(snakemake.output.json),
    )
