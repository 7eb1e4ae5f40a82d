"""The tables of verdicts and the page of a study of which some jobs failed."""

from pathlib import Path

from geed.claims.table import write_tables
from geed.report import crate, page
from geed.report.content import Study, failures


def write(study: Study, look: Path, citation: Path) -> list[str]:
    """Write tables, page and crate of what is there, outside of any job, and drop their records, so that the next run makes them.

    Args:
        study: what to show.
        look: folder of the page's template, style sheet and script.
        citation: a CITATION.cff.

    Returns:
        What to tell the user, in lines.

    Raises:
        GeedError: a result, a record or a picture is damaged, or a file cannot be written.
    """
    for name in ("claims.json", page.NAME, crate.NAME):
        Path(study.results, name).with_suffix(".record.json").unlink(missing_ok=True)
    jobs = study.jobs()
    missing = [claim for claim in study.claims if jobs.gap(study.result(claim))]
    tables = {"csv": "csv", "markdown": "md", "json": "json"}
    write_tables(
        [Path(study.result(claim)) for claim in study.claims],
        **{kind: Path(study.results, f"claims.{suffix}") for kind, suffix in tables.items()},
        out_of_date=missing,
    )
    page.write(study, look, Path(study.results, page.NAME))
    crate.write(study, citation)
    return [
        *(f"{failure['path']}: {failure['said'].removeprefix('geed: ')}" for failure in failures(study.logs)),
        f"missing or out of date: {', '.join(missing) or 'no claim'}; {study.results}/{page.NAME} shows what is there",
    ]
