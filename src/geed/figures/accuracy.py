"""K3: accuracy against deviation, every network and checkpoint a point, the untrained ones among them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("trained", "learned", "hard_coded", "weight_scaled", "untrained")  # drawn in this order
_ACROSS = 4  # metrics in a row
_DECADES = 30  # a positive metric whose values span more than this factor has a logarithmic axis


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
    final = rows.groupby(["arm", "seed"])["epoch"].transform("max") == rows["epoch"]
    for role in sorted(set(rows["role"]), key=lambda role: _ROLES.index(role) if role in _ROLES else -1):
        look = style.role(role)
        for at_end, size, alpha in ((False, 2.0, 0.45), (True, 4.2, 1.0)):
            chosen = rows[(rows["role"] == role) & (final == at_end)]
            marks = style.marks(look) | {"markersize": size, "alpha": alpha, "linestyle": "none", "zorder": 3 + at_end}
            axes.plot(chosen["accuracy"], chosen["estimate"], **marks)
    for _, null in tables.select(
        parts, "deviation", comparison=comparison, role="untrained", metric=name, distance=distance
    ).iterrows():
        axes.axhspan(null["ci_low"], null["ci_high"], color=style.GREY, alpha=0.25, linewidth=0, zorder=1)
        axes.axhline(null["estimate"], color=style.GREY, linewidth=0.8, linestyle="--", zorder=1)
    values = rows["estimate"]
    if values.min() > 0 and values.max() > _DECADES * values.min():
        axes.set_yscale("log")
    if tables.falls_with_deviation(metric):
        axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])


def _correlation(parts: "pd.DataFrame", comparison: str, metric: str) -> str:
    name, _, distance = metric.partition("/")
    return f"ρ = {tables.interval(tables.one(parts, 'spearman', comparison=comparison, metric=name, distance=distance))}"


def _metrics(rows: "pd.DataFrame") -> "pd.Series":
    return rows["metric"] + np.where(rows["distance"] == "", "", "/" + rows["distance"])


def _title(parts: "pd.DataFrame") -> str:
    rho = tables.select(parts, "spearman")["estimate"]
    difference = tables.select(parts, "difference")
    lower = difference[(difference["estimate"] < 0) & (difference["p_holm"] < 0.05)]
    known = [_metrics(rows).nunique() for rows in (lower, difference)]
    more = (
        f"untrained networks are more invariant than learned or hard-coded ones by {known[0]} of {known[1]} metrics (Holm, 5 %)"
    )
    if rho.empty:
        return more[0].upper() + more[1:]
    return (
        f"Rank correlation of accuracy and deviation: {tables.number(rho.min())} to {tables.number(rho.max())} by metric; {more}"
    )


def _caption(result: dict[str, Any], parts: "pd.DataFrame", rows: "pd.DataFrame", compared: list[tuple[str, str]]) -> str:
    runs, points = rows["arm"].nunique(), len(rows.drop_duplicates(["comparison", "arm", "seed", "epoch"]))
    about = f"{tables.comparison_label(*compared[0])}. " if len(compared) == 1 else ""
    return (
        f"{about}{runs} runs, {points} points: large, a trained network; small, a checkpoint along its training. Up is less "
        f"invariant in every panel (the axes of "
        "metrics that grow with invariance are reversed). Dashed line and band: untrained networks, mean and interval. ρ: "
        "Spearman's rank correlation of "
        f"accuracy and deviation. {tables.sample(result, tables.select(parts, 'deviation'))}"
    )
