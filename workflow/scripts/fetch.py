"""Fetch one source file: from the mirror, the cache or its canonical source, with the right checksum."""

from pathlib import Path

from geed.provenance.job import job
from geed.study.fetch import fetch

with job(snakemake) as measured:
    measured |= fetch(snakemake.wildcards.source, Path(snakemake.output.file))
