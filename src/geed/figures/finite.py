"""L3: transformers and CNNs of the same accuracy, by how far the image moves; the limit is the Lie derivative."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import style, tables
from geed.figures.style import Role

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = {
    "transformers": Role("transformers", style.VERMILLION, "s"),
    "cnns": Role("CNNs of the same accuracy", style.BLUE, "o"),
    "untrained_transformers": Role("transformers, untrained", style.VERMILLION, "s", "--", filled=False),
    "untrained_cnns": Role("CNNs, untrained", style.BLUE, "o", "--", filled=False),
}


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw L3: a row of panels for each data set, a panel for each transformation.

    Raises:
        GeedError: no role has a deviation.
    """
    rows = tables.needed(parts, "limit", result["id"])
    names, groups = tables.values(rows["comparison"]), tables.values(rows["group"])
    drawing = style.new(style.PAGE, 1.85 * len(names))
    grid = drawing.subplots(len(names), len(groups), squeeze=False)
    for row, name in enumerate(names):
        for column, group in enumerate(groups):
            axes, here = grid[row][column], {"comparison": name, "group": group}
            _panel(axes, parts, here)
            found = tables.interval(tables.one(parts, "difference", role="transformers", **here))
            label = f"{tables.words(name)}, {tables.transform_label(group)}"
            style.panel_label(axes, f"{label}\nlog ratio {found}")
            if row == len(names) - 1:
                axes.set_xlabel("t (0: Lie derivative)")
            if column == 0:
                axes.set_ylabel("|p(moved by t) − p| / t")
    handles = style.key([look for name, look in _ROLES.items() if name in set(rows["role"])])
    style.finish(drawing, _title(result), _caption(result, rows), handles)
    return drawing


def _panel(axes: "Axes", parts: "pd.DataFrame", here: dict[str, str]) -> None:
    steps = sorted(set(tables.select(parts, "finite", **here)["epsilon"].dropna()))
    for role, look in _ROLES.items():
        limit = tables.one(parts, "limit", role=role, **here)
        found = tables.select(parts, "finite", role=role, **here)
        found = found[found["epsilon"].notna()].sort_values("epsilon")
        places = [0.0] * (limit is not None) + [1.0 + steps.index(step) for step in found["epsilon"]]
        values = ([tables.spans(limit)] if limit is not None else []) + ([tables.spans(found)] if len(found) else [])
        if values:
            style.points(axes, places, np.exp(np.concatenate(values)), look, line=True)
    axes.set_xticks(range(len(steps) + 1), ["0", *(f"{step:g}" for step in steps)])
    axes.set_xlim(-0.4, len(steps) + 0.4)
    style.log_axis(axes, "y")


def _title(result: dict[str, Any]) -> str:
    estimate = {key: result.get(key) for key in ("estimate", "ci_low", "ci_high")}
    known = None if estimate["estimate"] is None else {key: np.nan if value is None else value for key, value in estimate.items()}
    return f"Log deviation of trained transformers − that of CNNs of the same accuracy, at t = 0: {tables.interval(known)}"


def _caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    return (
        "Difference quotients of the softmax, mean over classes and images, geometric mean over networks; at 0 the Lie "
        "derivative, their limit. Translations in half image widths, rotations in radians. Trained networks are those with a "
        f"partner of the same accuracy. Log ratio: transformers ÷ CNNs, over matched pairs, at 0. {tables.sample(result, rows)}"
    )
