"""Write the study's page, from results and records."""

from pathlib import Path

from geed.provenance.job import job
from geed.report.content import Study
from geed.report.page import write

with job(snakemake):
    write(Study(**snakemake.params.study), Path(snakemake.input.look[0]).parent, Path(snakemake.output.page))
