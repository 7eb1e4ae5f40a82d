"""Read a published table in every way that its words allow, and rank the readings by how well they fit."""

from pathlib import Path

from geed.claims.moskalev.published import CELLS
from geed.provenance.job import job
from geed.study.readings import search

with job(snakemake) as measured:
    paths = [Path(path) for path in snakemake.input.weights]
    seeds = len(paths) // len(snakemake.params.runs)  # the paths of one run come together
    measured |= search(
        snakemake.params.settings,
        CELLS,
        weights={run: paths[place * seeds : (place + 1) * seeds] for place, run in enumerate(snakemake.params.runs)},
        data=Path(snakemake.input.data),
        table=Path(snakemake.output.table),
        page=Path(snakemake.output.page),
        device=snakemake.params.device,
    )
