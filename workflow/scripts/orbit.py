"""Record the activations of one image's orbit in several networks, for the overview figure."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.orbit import record_orbit

with job(snakemake) as measured:
    measured |= record_orbit(
        snakemake.params.settings,
        weights=[Path(path) for path in snakemake.input.weights],
        data=Path(snakemake.input.data),
        output=Path(snakemake.output.activations),
        device=snakemake.params.device,
    )
