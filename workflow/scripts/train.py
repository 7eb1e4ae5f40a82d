"""Train one run with one seed."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.train import train_run

with job(snakemake) as measured:
    source, published, search = (snakemake.input.get(name) for name in ("source", "published", "search"))
    measured |= train_run(
        snakemake.params.run,
        study=snakemake.params.study,
        seed=int(snakemake.wildcards.seed),
        data=Path(snakemake.input.data),
        weights=Path(snakemake.output.weights),
        history=Path(snakemake.output.history),
        snapshots=Path(snakemake.output.snapshots),
        source=Path(source) if source else None,
        published=Path(published) if published else None,
        search=Path(search) if search else None,
        device=snakemake.params.device,
        checkpoints=Path(snakemake.params.checkpoints),
    )
