"""The tables of verdicts and the page of a study of which some jobs failed."""

from pathlib import Path

from geed.claims.table import write_tables
from geed.report import crate, page
from geed.report.content import Study


def write(study: Study, look: Path, citation: Path) -> list[str]:
    """Write tables, page and crate of what is there, outside of any job, and drop their records, so that the next run makes them.

    Args:
        study: what to show.
        look: folder of the page's template, style sheet and script.
        citation: a CITATION.cff.

    Returns:
        The claims that are missing or out of date.

    Raises:
        GeedError: a result, a record or a picture is damaged, or a file cannot be written.
    """
    for name in ("claims.json", page.NAME, crate.NAME):
        Path(study.results, name).with_suffix(".record.json").unlink(missing_ok=True)
    tables = {"csv": "csv", "markdown": "md", "json": "json"}
    write_tables(
        [Path(study.result(claim)) for claim in study.claims],
        **{kind: Path(study.results, f"claims.{suffix}") for kind, suffix in tables.items()},
    )
    page.write(study, look, Path(study.results, page.NAME))
    crate.write(study, citation)
    history = study.history()
    return [claim for claim in study.claims if history.gap(study.result(claim))]
