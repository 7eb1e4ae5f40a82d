"""The table of verdicts: one row per claim."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from geed.claims.names import FIGURES
from geed.errors import GeedError
from geed.files import atomic, read_json, write_json, write_table

_RESULT = ["verdict", "estimate", "ci_low", "ci_high", "n_seeds", "estimate_name", "statement", "scale"]
_NUMBER = (int, float, type(None))
_KINDS: dict[str, Any] = dict.fromkeys(("id", "verdict", "statement", "scale"), str)
_KINDS |= dict.fromkeys(("estimate", "ci_low", "ci_high", "n_seeds"), _NUMBER)
COLUMNS = ["claim", *_RESULT, "figure", "command"]


def collect(results: Sequence[Mapping[str, Any]], expected: Sequence[str] = ()) -> pd.DataFrame:
    """One row per claim, in the order expected and then given; one that is expected and has no result is "missing".

    Args:
        results: contents of claims/<ID>.json.
        expected: claim IDs that there should be.
    """
    by_id = {result["id"]: result for result in results}
    rows = []
    for claim in dict.fromkeys([*expected, *by_id]):
        result = by_id.get(claim, dict.fromkeys(("estimate_name", "statement", "scale"), "") | {"verdict": "missing"})
        rows.append(
            {
                "claim": claim,
                **{key: result.get(key) for key in _RESULT},
                "figure": figure(claim, result.get("scale")),
                "command": command(claim, result.get("scale")),
            }
        )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"estimate": float, "ci_low": float, "ci_high": float, "n_seeds": "Int64"})


def read(path: str | Path) -> list[dict[str, Any]]:
    """The results in a study's claims.json, or the one in a claims/<ID>.json.

    Raises:
        GeedError: the file is absent, damaged, or holds something else.
    """
    content = read_json(path)
    results = content if isinstance(content, list) else [content]
    for result in results:
        for key, kinds in _KINDS.items():
            if not isinstance(result, dict) or not isinstance(result.get(key), kinds):
                raise GeedError(f"{path}: expected the result of a claim, found one without a proper '{key}'")
    return results


def command(claim: str, study: str | None) -> str:
    """What rebuilds a claim; the demo study is the default config."""
    overlay = f" --configfile workflow/studies/{study}.yaml" if study not in (None, "", "demo") else ""
    return f"snakemake --cores 2{overlay} claim_{claim}"


def figure(claim: str, study: str | None) -> str | None:
    """Where a claim's figure is; None where it has none."""
    return f"figures/{study}/{FIGURES[claim]}.png" if study and claim in FIGURES else None


def markdown(frame: pd.DataFrame) -> str:
    """The table in Markdown, for a README."""
    lines = ["| claim | verdict | estimate | seeds | rebuild |", "|---|---|---|---|---|"]
    for row in frame.to_dict("records"):
        name = f"{row['claim']}: {row['statement']}" if row["statement"] else row["claim"]
        lines.append(f"| {name} | **{row['verdict']}** | {_estimate(row, with_name=True)} | {_count(row)} | `{row['command']}` |")
    return "\n".join(lines) + "\n"


def text(frame: pd.DataFrame) -> str:
    """The table for a terminal."""
    header = ("claim", "verdict", "estimate", "seeds", "figure")
    rows = frame.to_dict("records")
    cells = [header, *((row["claim"], row["verdict"], _estimate(row), _count(row), _words(row["figure"], "–")) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return (
        "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells) + "\n"
    )


def write_tables(results: Sequence[Path], *, csv: Path, markdown: Path, json: Path, out_of_date: Collection[str] = ()) -> None:
    """Gather results and write the table as CSV and Markdown, and whole as JSON; a file that is not there is a missing claim.

    Args:
        results: claims/<ID>.json of all claims.
        csv: output.
        markdown: output.
        json: output.
        out_of_date: claims that count as missing though their file is there.

    Raises:
        GeedError: a result is damaged, or a table cannot be written.
    """
    there = [path for path in results if Path(path).exists() and Path(path).stem not in out_of_date]
    found = [result for path in there for result in read(path)]
    frame = collect(found, expected=[Path(path).stem for path in results])
    write_table(csv, frame)
    with atomic(markdown) as temporary:
        temporary.write_text(_markdown(frame), encoding="utf-8")
    write_json(json, found)


_markdown = markdown


def _words(value: object, otherwise: str = "") -> str:
    """Text as it stands in a table; a missing cell is None or NaN."""
    return value if isinstance(value, str) else otherwise


def _estimate(row: Mapping[str, Any], *, with_name: bool = False) -> str:
    if row["estimate"] is None or pd.isna(row["estimate"]):
        return "–"
    interval = "" if pd.isna(row["ci_low"]) else f" [{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
    name = f" ({row['estimate_name']})" if with_name and row["estimate_name"] else ""
    return f"{row['estimate']:.3g}{interval}{name}"


def _count(row: Mapping[str, Any]) -> str:
    return "–" if pd.isna(row["n_seeds"]) else str(int(row["n_seeds"]))
