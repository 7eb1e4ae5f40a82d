"""Prepare one data set: read it, check it, split it."""

import os
from pathlib import Path

from geed.provenance.job import job
from geed.study.prepare import prepare

with job(snakemake) as measured:
    measured |= prepare(
        snakemake.wildcards.set,
        snakemake.params.settings,
        Path(snakemake.output.data),
        mirror=os.environ.get("GEED_DATA_MIRROR"),
    )
