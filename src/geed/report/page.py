"""One HTML page a study, which needs nothing but itself; its links lead to the files beside it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import yaml
from markupsafe import Markup, escape

from geed import __version__
from geed.errors import GeedError
from geed.files import atomic
from geed.report import graph, words
from geed.report.content import ROWS, Study, gather

NAME = "report.html"
TEMPLATE, STYLE, SCRIPT = "page.html", "page.css", "page.js"


def write(study: Study, look: Path, page: Path) -> None:
    """Write the page of a study from what is there; a claim that is missing is shown as missing, with what stopped it.

    Equal files give equal bytes.

    Args:
        study: what to show.
        look: folder of the template, the style sheet and the script.
        page: output.

    Raises:
        GeedError: a result, a record or a picture is damaged, the template is not there, or the page cannot be written.
    """
    text = render(study, gather(study), look, page.parent)
    with atomic(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(study: Study, content: Mapping[str, Any], look: Path, folder: Path) -> str:
    """The page's HTML.

    Args:
        study: what is shown.
        content: from `gather`.
        look: folder of the template, the style sheet and the script.
        folder: where the page will lie; its links start there.
    """
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(look),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"number": words.number, "duration": words.duration, "matrix": words.matrix}
    try:
        return jinja.get_template(TEMPLATE).render(
            **content,
            style=Markup((look / STYLE).read_text(encoding="utf-8")),
            script=Markup((look / SCRIPT).read_text(encoding="utf-8")),
            graph=_graph(study, content),
            plan=yaml.safe_dump(dict(study.plan), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100),
            link=lambda path, text, kind="": link(path, text, folder, kind),
            most=ROWS,
            version=__version__,
        )
    except (jinja2.TemplateError, OSError) as error:
        raise GeedError(f"{look}: expected the page's {TEMPLATE}, {STYLE} and {SCRIPT}: {error}") from error


def link(path: str | None, text: str, folder: Path, kind: str = "") -> Markup:
    """A link from a page in `folder` to a file; the bare text where the file is not there, so that no link leads nowhere."""
    if path is None or not Path(path).exists():
        return escape(text)
    address = quote(Path(os.path.relpath(path, folder)).as_posix())
    return Markup('<a{} href="{}">{}</a>').format(Markup(' class="{}"').format(kind) if kind else "", address, text)


def _graph(study: Study, content: Mapping[str, Any]) -> Markup:
    jobs = content["jobs"]
    shown = {jobs.producer[path].rule for path in study.targets() if path in jobs.producer}
    notes = {
        row["rule"]: f"{row['jobs']} {'job' if row['jobs'] == 1 else 'jobs'}, {words.duration(row['seconds'])}"
        for row in content["stages"][:-1]
    }
    return graph.svg(graph.rules(jobs) | {"report": shown}, notes | {"report": "this page"})
