"""K3: accuracy against deviation, every network and checkpoint a point, the untrained ones among them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import style, tables
from geed.figures.tables import LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("trained", "learned", "hard_coded", "weight_scaled", "untrained")  # drawn in this order
_ACROSS = 4  # metrics in a row
_FACTOR = 30  # a positive metric whose values span more than this has a logarithmic axis
_ROUNDING = 1e-6  # of the largest value, where such an axis ends


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw K3: one panel for each metric, a block of panels for each comparison.

    Up is always less invariant: the axis of a metric that grows with invariance runs downwards.

    Raises:
        GeedError: there are no points.
    """
    rows = tables.needed(parts, "point", result["id"])
    rows = rows[rows["accuracy"].notna()]
    compared = tables.comparisons(rows)
    blocks = {pair: tables.values(_metrics(rows[rows["comparison"] == pair[0]])) for pair in compared}
    across = min(_ACROSS, max(map(len, blocks.values())))
    heights = {pair: -(-len(metrics) // across) for pair, metrics in blocks.items()}
    drawing = style.new(style.PAGE if across > 2 else style.COLUMN, 1.75 * sum(heights.values()) + 0.1)
    grid = drawing.add_gridspec(sum(heights.values()), across)
    first = 0
    for pair, metrics in blocks.items():
        for index, metric in enumerate(metrics):
            row, column = first + index // across, index % across
            axes = drawing.add_subplot(grid[row, column])
            _panel(axes, parts, rows[(rows["comparison"] == pair[0]) & (_metrics(rows) == metric)], metric)
            name = f"{tables.comparison_label(*pair)}\n" if len(compared) > 1 and index == 0 else ""
            style.panel_label(axes, f"{name}{tables.metric_label(metric)}\n{_correlation(parts, pair[0], metric)}")
            if index + across >= len(metrics):
                axes.set_xlabel("Accuracy")
            else:
                axes.tick_params(labelbottom=False)
            if column == 0:
                axes.set_ylabel("less invariant →")
        first += heights[pair]
    handles = style.key([name for name in _ROLES if name in set(rows["role"])], lines=False)
    style.finish(drawing, _title(parts), _caption(result, parts, rows, compared), handles)
    return drawing


def _panel(axes: "Axes", parts: "pd.DataFrame", rows: "pd.DataFrame", metric: str) -> None:
    comparison = rows["comparison"].iloc[0]
    name, _, distance = metric.partition("/")
    low = _least(rows["estimate"])
    if low is not None:
        axes.set_yscale("log")
    final = _final(rows)
    for role in sorted(set(rows["role"]), key=lambda role: _ROLES.index(role) if role in _ROLES else -1):
        look = style.role(role)
        for at_end, size, alpha in ((False, 2.0, 0.45), (True, 4.2, 1.0)):
            chosen = rows[(rows["role"] == role) & (final == at_end)]
            marks = style.marks(look) | {"markersize": size, "alpha": alpha, "linestyle": "none", "zorder": 3 + at_end}
            axes.plot(chosen["accuracy"], chosen["estimate"].clip(lower=low), **marks)
    null = tables.one(parts, "deviation", comparison=comparison, role="untrained", metric=name, distance=distance)
    if null is not None:
        axes.axhspan(null["ci_low"], null["ci_high"], color=style.GREY, alpha=0.25, linewidth=0, zorder=1)
        axes.axhline(null["estimate"], color=style.GREY, linewidth=0.8, linestyle="--", zorder=1)
    if low is not None:
        axes.set_ylim(bottom=low / 2)  # points at the end are seen whole
    if tables.falls_with_deviation(metric):
        axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])


def _least(values: "pd.Series") -> float | None:
    """The lower end of a logarithmic axis, None for a linear one. What is below a millionth of the largest value is rounding."""
    if values.min() < 0 or values.max() <= _FACTOR * values.min():
        return None
    return max(values.min(), values.max() * _ROUNDING) or None


def _final(rows: "pd.DataFrame") -> "pd.Series":
    """Whether a point is a trained network, not a checkpoint along the way."""
    return rows.groupby(["comparison", "arm", "seed"])["epoch"].transform("max") == rows["epoch"]


def _correlation(parts: "pd.DataFrame", comparison: str, metric: str) -> str:
    name, _, distance = metric.partition("/")
    return f"ρ = {tables.interval(tables.one(parts, 'spearman', comparison=comparison, metric=name, distance=distance))}"


def _metrics(rows: "pd.DataFrame") -> "pd.Series":
    return rows["metric"] + np.where(rows["distance"] == "", "", "/" + rows["distance"])


def _title(parts: "pd.DataFrame") -> str:
    rho, difference = tables.select(parts, "spearman")["estimate"], tables.select(parts, "difference")
    lower = difference[(difference["estimate"] < 0) & (difference["p_holm"] < LEVEL)]
    counts = [
        f"{words} ones by {_metrics(lower[lower['role'] == role]).nunique()}"
        for role, words in (("learned", "learned"), ("hard_coded", "hard-coded"))
    ]
    of = f"of {_metrics(difference).nunique()} metrics (Holm, 5 %)"
    found = f"untrained networks are more invariant than {' and '.join(counts)} {of}"
    if rho.empty:
        return found.capitalize()
    return f"Rank correlation of accuracy and deviation: {_range(rho)} by metric; {found}"


def _range(values: "pd.Series") -> str:
    low, high = tables.number(values.min()), tables.number(values.max())
    return low if low == high else f"{low} to {high}"


def _caption(result: dict[str, Any], parts: "pd.DataFrame", rows: "pd.DataFrame", compared: list[tuple[str, str]]) -> str:
    points = rows.drop_duplicates(["comparison", "arm", "seed", "epoch"])
    checkpoints = int((~_final(points)).sum())
    small = f" (large) and {checkpoints:,} checkpoints along their training (small)" if checkpoints else ""
    lows = [(_least(block["estimate"]), block["estimate"]) for _, block in rows.groupby(["comparison", "metric", "distance"])]
    below = (
        " Points on the lower edge of a logarithmic axis lie below it."
        if any(low is not None and (values < low).any() for low, values in lows)
        else ""
    )
    about = f"{tables.comparison_label(*compared[0])}. " if len(compared) == 1 else ""
    return (
        f"{about}{points['arm'].nunique()} runs, {len(points) - checkpoints:,} networks{small}. Up is less invariant in every "
        f"panel: the axes of metrics that grow with invariance are reversed.{below} Dashed line and band: untrained networks. "
        "ρ: Spearman's rank correlation of accuracy and deviation. " + tables.sample(result, tables.select(parts, "deviation"))
    )
