"""Measure one trained network: every evaluation that its run takes part in."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.measure import measure_run

with job(snakemake) as measured:
    measured |= measure_run(
        snakemake.params.run,
        int(snakemake.wildcards.seed),
        snakemake.params.evaluations,
        snakemake.params.corruptions,
        weights=Path(snakemake.input.weights),
        snapshots=Path(snakemake.input.snapshots),
        data=Path(snakemake.params.folder),
        table=Path(snakemake.output.table),
        per_image=Path(snakemake.output.per_image),
        device=snakemake.params.device,
    )
