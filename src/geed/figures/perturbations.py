"""P32: the deviation of equivariant networks is zero, and grows as they are perturbed."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables
from geed.figures.factors import caption, finish_axes, power, scatter

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_MARKERS = "os^vDP"


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw P32: relative deviation against the size of the perturbation, a point for each construction.

    Raises:
        GeedError: there are no constructions.
    """
    rows = tables.needed(parts, "deviation", result["id"])
    sizes, groups = sorted(set(rows["epsilon"])), tables.values(rows["group"])
    looks = [
        style.Role(tables.group_label(group), _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)])
        for index, group in enumerate(groups)
    ]
    drawing = style.new(style.COLUMN, 2.0)
    axes = drawing.subplots()
    for place, size in enumerate(sizes):
        for index, (group, look) in enumerate(zip(groups, looks, strict=True)):
            chosen = rows[(rows["epsilon"] == size) & (rows["group"] == group)]
            scatter(
                axes, place + (index - (len(groups) - 1) / 2) * 0.8 / len(groups), chosen["estimate"], look, 0.6 / len(groups)
            )
    finish_axes(axes, result, [f"{size:g}" for size in sizes])
    axes.set_xlabel("Size of the perturbation ε (0: equivariant by construction)")
    axes.set_ylabel("Relative deviation")
    zero, least = rows[rows["epsilon"] == 0]["estimate"], rows[rows["epsilon"] > 0]["estimate"]
    title = f"Equivariant networks deviate by at most {power(zero.max())}, perturbed ones by {least.min():.1g} or more"
    style.finish(drawing, title, caption(result, rows), style.key(looks, lines=False))
    return drawing
