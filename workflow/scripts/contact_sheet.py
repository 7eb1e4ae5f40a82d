"""Draw one test image under every corruption at every severity."""

from pathlib import Path

from geed.figures.contact_sheet import draw
from geed.provenance.job import job

with job(snakemake) as measured:
    measured |= draw(
        Path(snakemake.input.data),
        Path(snakemake.input.corrupted),
        Path(snakemake.output.pdf),
        Path(snakemake.output.png),
    )
