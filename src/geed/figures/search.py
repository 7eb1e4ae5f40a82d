"""How much regularisation is enough? What each search for a weight tried on validation images, and what it took."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geed.errors import GeedError
from geed.figures import style, tables
from geed.files import read_json, read_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Z = 1.96
_METRIC, _ACCURACY = style.Role("", style.BLUE, "o"), style.Role("accuracy", style.BLACK, "s", ":", filled=False)


def read(found: Sequence[Path], tried: Sequence[Path]) -> "dict[str, tuple[dict[str, Any], pd.DataFrame]]":
    """Run -> the result of its search and the table of what was tried, from files that are named by the runs.

    Raises:
        GeedError: a file is absent or damaged, or is not what a search writes.
    """
    searches = {}
    for result_path, table_path in zip(found, tried, strict=True):
        result, table = read_json(result_path), read_table(table_path)
        if not isinstance(result, dict) or not {"weight", "reached", "asked"} <= result.keys():
            raise GeedError(f"{result_path}: expected the result of a search, with the keys weight, reached and asked")
        if missing := [column for column in ("weight", "value", "se", "accuracy", "n_images") if column not in table]:
            raise GeedError(f"{table_path}: expected what a search tried, found no column '{missing[0]}'")
        searches[Path(result_path).stem] = result, table
    return searches


def figure(searches: "dict[str, tuple[dict[str, Any], pd.DataFrame]]") -> "Figure":
    """Draw a panel for each search: the metric and the accuracy, on validation images, against the weight."""
    columns = min(3, len(searches))
    rows = -(-len(searches) // columns)
    drawing = style.new(style.PAGE if columns > 1 else style.COLUMN, 1.75 * rows)
    panels = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axes, (run, (result, table)) in zip(panels, searches.items(), strict=False):
        _panel(axes, result, table)
        reached = "" if result["reached"] else " (none reaches)"
        style.panel_label(axes, f"{tables.words(run)}\ntaken: ν = {result['weight']:g}{reached}")
    for axes in panels[len(searches) :]:
        axes.axis("off")
    for axes in panels[max(0, len(searches) - columns) : len(searches)]:
        axes.set_xlabel("ν, weight of the regulariser")
    metrics = tables.values(tables.metric_label(result["asked"]["metric"]) for result, _ in searches.values())
    looks = [style.Role(", ".join(metrics), _METRIC.colour, _METRIC.marker), _ACCURACY]
    style.finish(drawing, _title(searches), _caption(searches), style.key(looks))
    return drawing


def _panel(axes: "Axes", result: dict[str, Any], table: "pd.DataFrame") -> None:
    table = table.sort_values("weight")
    reach = _Z * table["se"]
    style.points(
        axes, table["weight"], np.stack([table["value"], table["value"] - reach, table["value"] + reach], 1), _METRIC, line=True
    )
    axes.plot(table["weight"], table["accuracy"], linestyle=_ACCURACY.line, **style.marks(_ACCURACY))
    style.rule(axes, result["asked"]["at_least"], "threshold")
    axes.axvline(result["weight"], color=style.PALE, linewidth=4, zorder=0)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(table["weight"], [f"{weight:g}" for weight in table["weight"]])


def _title(searches: "dict[str, tuple[dict[str, Any], pd.DataFrame]]") -> str:
    reached = sum(result["reached"] for result, _ in searches.values())
    return f"{reached} of {len(searches)} regularisers become invariant enough on validation images"


def _caption(searches: "dict[str, tuple[dict[str, Any], pd.DataFrame]]") -> str:
    results, tried = zip(*searches.values(), strict=True)
    wanted = ", ".join(sorted({f"{result['asked']['at_least']:g}" for result in results}))
    images = sorted({int(count) for table in tried for count in table["n_images"]})
    sizes = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    seeds = ", ".join(sorted({str(result["seed"]) for result in results if "seed" in result}))
    return (
        f"Every weight that the bisection tried. Dashed: what is asked for, {wanted}; the smallest weight that reaches it is "
        f"taken (grey), and where none does, the most invariant. Bars: 95 % interval over {sizes} validation images; no test "
        f"image is looked at. One network a weight, of training seed {seeds}."
    )
