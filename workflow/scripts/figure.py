"""Draw one figure from tables."""

from pathlib import Path

from geed.figures.draw import draw
from geed.provenance.job import job

with job(snakemake) as measured:
    measured |= draw(
        snakemake.wildcards.figure,
        inputs={
            name: Path(path) if isinstance(path, str) else [Path(entry) for entry in path]
            for name, path in snakemake.input.items()
            if name != "code"
        },
        pdf=Path(snakemake.output.pdf),
        png=Path(snakemake.output.png),
    )
