"""K4: which of two initialisations is more invariant after fine-tuning, by distance."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables
from geed.figures.tables import LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("pretrained", "random", "equivariant", "untrained")


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw K4, a block for each comparison.

    Left: pretrained − random by distance, in standard deviations over images. Right: the deviations themselves, each distance on
    its own scale, with the floor and the null.

    Raises:
        GeedError: no distance has a difference.
    """
    rows = tables.needed(parts, "standardised", result["id"])
    blocks = {pair: rows[rows["comparison"] == pair[0]] for pair in tables.comparisons(rows)}
    drawing = style.new(style.PAGE, sum(0.38 * len(block) + 0.75 for block in blocks.values()))
    figures = drawing.subfigures(
        len(blocks), 1, squeeze=False, height_ratios=[0.38 * len(block) + 0.75 for block in blocks.values()]
    )
    for (pair, block), part in zip(blocks.items(), figures[:, 0], strict=True):
        grid = part.add_gridspec(len(block), 3, width_ratios=[1.5, 0.04, 1])
        forest = part.add_subplot(grid[:, 0])
        _forest(forest, result, block, f"{tables.comparison_label(*pair)}: pretrained − random")
        for index, (_, row) in enumerate(block.iterrows()):
            _values(part.add_subplot(grid[index, 2]), parts, row, head=index == 0, foot=index == len(block) - 1)
    shown = tables.select(parts, "deviation")
    handles = style.key([name for name in _ROLES if name in set(shown["role"])], lines=False)
    style.finish(drawing, _title(rows), _caption(result, parts, rows), handles)
    return drawing


def _forest(axes: "Axes", result: dict[str, Any], rows: "pd.DataFrame", head: str) -> None:
    margin = result.get("thresholds", {}).get("margin")
    if margin is not None:
        axes.axvspan(-margin, margin, color=style.PALE, linewidth=0, zorder=0)
    axes.axvline(0, color=style.BLACK, linewidth=0.7, zorder=1)
    look = style.Role("", style.BLACK, "o")
    for place, (_, row) in enumerate(rows.iterrows()):
        style.points(axes, [place], tables.spans(row), look, horizontal=True, filled=bool(row["p_holm"] < LEVEL))
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -2.5 * (margin or 0)), max(high, 2.5 * (margin or 0)))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(
        range(len(rows)), [tables.metric_label(tables.metric_id(row)) for _, row in rows.iterrows()], size=style.MEDIUM
    )
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel("Standardised difference (standard deviations over images)")
    style.panel_label(axes, f"{head}\n← pretrained more invariant")
    axes.set_title("random more invariant →", loc="right", linespacing=1.25)


def _values(axes: "Axes", parts: "pd.DataFrame", row: "pd.Series", *, head: bool, foot: bool) -> None:
    """The deviations of one distance, on a scale of their own."""
    rows = tables.select(parts, "deviation", comparison=row["comparison"], metric=row["metric"], distance=row["distance"])
    present = [name for name in _ROLES if name in set(rows["role"])]
    for place, name in enumerate(present):
        mine = rows[rows["role"] == name]
        style.points(axes, [place] * len(mine), tables.spans(mine), style.role(name), horizontal=True, markersize=3.2)
    axes.set_ylim(max(len(present), 1) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(labelsize=style.SMALL, pad=1)
    if head:
        style.panel_label(axes, "Deviation, each distance\non its own scale")
    if foot:
        axes.set_xlabel("in the units of the distance")


def _title(rows: "pd.DataFrame") -> str:
    sure = rows[rows["p_holm"] < LEVEL]
    more, less = (sure["estimate"] < 0).sum(), (sure["estimate"] > 0).sum()
    across = "" if len(tables.comparisons(rows)) < 2 else " over all comparisons"
    return (
        f"Pretrained networks are more invariant than randomly initialised ones by {more} of {len(rows)} distances{across}, less "
        f"invariant by {less} (Holm, 5 %)"
    )


def _caption(result: dict[str, Any], parts: "pd.DataFrame", rows: "pd.DataFrame") -> str:
    margin = result.get("thresholds", {}).get("margin")
    shaded = f"; shaded: equivalence margin of ±{margin:g}" if margin is not None else ""
    accuracies = []
    for comparison, _ in tables.comparisons(rows):
        shown = tables.select(parts, "accuracy", comparison=comparison)
        each = ", ".join(f"{style.role(row['role']).label} {tables.interval(row)}" for _, row in shown.iterrows())
        if each:
            accuracies.append(f"Accuracy, {tables.words(comparison)}: {each}. ")
    return (
        f"Both networks were fine-tuned alike. Filled: differs from zero after Holm's correction (5 %), open: does not{shaded}. "
        f"Right: larger = less invariant. {''.join(accuracies)}{tables.sample(result, rows)}"
    )
