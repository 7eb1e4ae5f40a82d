"""Record saliency maps along a few orbits and an embedding of the features, for two figures."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.explain import record

with job(snakemake) as measured:
    measured |= record(
        snakemake.params.settings,
        weights={run: Path(path) for run, path in zip(snakemake.params.runs, snakemake.input.weights, strict=True)},
        data=Path(snakemake.input.data),
        output=Path(snakemake.output.recorded),
    )
