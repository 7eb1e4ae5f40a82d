"""Search the weight of one run's regulariser, on validation images."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.search import search_weight

with job(snakemake) as measured:
    source, published = snakemake.input.get("source"), snakemake.input.get("published")
    measured |= search_weight(
        snakemake.params.run,
        study=snakemake.params.study,
        seed=snakemake.params.seed,
        data=Path(snakemake.input.data),
        result=Path(snakemake.output.result),
        table=Path(snakemake.output.table),
        weights=Path(snakemake.output.weights),
        history=Path(snakemake.output.history),
        snapshots=Path(snakemake.output.snapshots),
        source=Path(source) if source else None,
        published=Path(published) if published else None,
        device=snakemake.params.device,
        checkpoints=Path(snakemake.params.checkpoints),
    )
