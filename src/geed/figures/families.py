"""L2: deviation against accuracy over a zoo of networks, families marked."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import style, tables
from geed.figures.style import Role

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = (
    (style.BLUE, "o"),
    (style.VERMILLION, "s"),
    (style.GREEN, "^"),
    (style.PURPLE, "v"),
    (style.ORANGE, "D"),
    (style.SKY, ">"),
    (style.BLACK, "<"),
)


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw L2: a row of panels for each data set, a panel for each transformation.

    Raises:
        GeedError: no network has a deviation.
    """
    rows = tables.needed(parts, "deviation", result["id"])
    names, groups = tables.values(rows["comparison"]), tables.values(rows["group"])
    families = tables.values(rows["role"])
    looks = {family: Role(tables.words(family), *_LOOKS[index % len(_LOOKS)]) for index, family in enumerate(families)}
    drawing = style.new(style.PAGE, 1.85 * len(names))
    grid = drawing.subplots(len(names), len(groups), squeeze=False)
    for row, name in enumerate(names):
        for column, group in enumerate(groups):
            axes = grid[row][column]
            own = rows[
                (rows["comparison"] == name) & (rows["group"] == group) & rows["accuracy"].notna() & (rows["estimate"] > 0)
            ]
            _panel(axes, own, looks)
            for untrained in tables.select(parts, "untrained", comparison=name, group=group)["estimate"]:
                axes.axhline(untrained, color=style.GREY, linewidth=0.8, linestyle="--", zorder=1)
            style.log_axis(axes, "y")
            slope = tables.interval(tables.one(parts, "slope", comparison=name, group=group))
            style.panel_label(axes, f"{tables.words(name)}, {tables.transform_label(group)}\nslope {slope}")
            if row == len(names) - 1:
                axes.set_xlabel("accuracy")
            if column == 0:
                axes.set_ylabel("Lie deviation per unit t")
    style.finish(drawing, _title(parts), _caption(result, rows), style.key(looks.values(), lines=False))
    return drawing


def _panel(axes: "Axes", rows: "pd.DataFrame", looks: dict[str, Role]) -> None:
    for family, look in looks.items():
        own = rows[rows["role"] == family].sort_values("accuracy")
        if own.empty:
            continue
        style.points(axes, own["accuracy"].to_numpy(), tables.spans(own), look)
        if len(own) > 1:
            x, y = own["accuracy"].to_numpy(), np.log(own["estimate"].to_numpy())
            fitted = y.mean() + (x - x.mean()) * ((x - x.mean()) @ (y - y.mean())) / max((x - x.mean()) @ (x - x.mean()), 1e-12)
            axes.plot(x, np.exp(fitted), color=look.colour, linewidth=0.7, zorder=2)
    axes.locator_params(axis="x", nbins=4)


def _title(parts: "pd.DataFrame") -> str:
    slope, agreeing = (tables.one(parts, part, comparison="all") for part in ("slope", "families"))
    return (
        f"Slope of log deviation on accuracy: {tables.interval(slope)} over all networks; "
        f"below 0 in {tables.interval(agreeing)} of the families"
    )


def _caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    return (
        "End-to-end Lie derivative of the softmax, mean |dp/dt| over classes; translations in half image widths, rotations in "
        "radians. Lines: least squares within each family; dashed: untrained networks. Slopes are of the natural logarithm, per "
        f"100 points of accuracy; those over all networks are of resampled networks, too. {tables.sample(result, rows)}"
    )
