"""Describe the study's files and jobs as an RO-Crate."""

from pathlib import Path

from geed.provenance.job import job
from geed.report.content import Study
from geed.report.crate import write

with job(snakemake):
    write(Study(**snakemake.params.study), Path(snakemake.input.citation))
