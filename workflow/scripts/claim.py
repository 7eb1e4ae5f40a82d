"""Decide one claim by its rule, from the tables of measurements."""

from pathlib import Path

from geed.claims.decision import decide
from geed.provenance.job import job

with job(snakemake) as measured:
    measured |= decide(
        snakemake.wildcards.claim,
        snakemake.params.settings,
        study=snakemake.params.study,
        measurements=Path(snakemake.params.folder),
        seeds=snakemake.params.seeds,
        result=Path(snakemake.output.result),
        parts=Path(snakemake.output.parts),
    )
