"""The layer profile: a metric of every measured layer against its relative depth."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from geed import files
from geed.errors import GeedError
from geed.metrics.names import LARGER_IS_MORE_INVARIANT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

FORMATS = (".png", ".pdf", ".svg")

FEW = 4

# The value of an exactly invariant or equivariant network, by distance; 1 for metrics of which more is more invariant.
_EXACT = {"cosine": -1.0, "one_minus_cosine": 0.0, "l2": 0.0, "kl": 0.0}


def layer_profile(
    table: "pd.DataFrame", path: str | Path, title: str = "", references: "Mapping[str, pd.DataFrame] | None" = None
) -> None:
    """Draw one panel for each layerwise metric and distance of a table, with a band of two standard errors.

    A grey line marks the value of an exactly invariant network, where a metric has one.

    Args:
        table: what `geed.measure` returned; rows with a layer and a value are drawn, in the table's order.
        path: where to write; the suffix is one of `FORMATS`.
        title: above the panels; say which network, group and number of images.
        references: label -> such a table of another network, drawn without markers against its own relative depth: the floor
            (an exactly equivariant network), the null (untrained weights).

    Raises:
        GeedError: no layer has a value, or the path has another suffix.
    """
    check_format(path)
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    table = _drawn(table)
    if table.empty:
        raise GeedError("layer profile: no layer of the table has a value to draw")
    layers = list(dict.fromkeys(table["layer"]))
    panels = {key: len(rows) for key, rows in table.groupby(["metric", "distance"], sort=False)}
    heights = [2.2 if count > FEW else 1.3 for count in panels.values()]  # a metric of the last few layers is no profile
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(7.2, 0.9 + sum(heights)),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (metric, distance) in zip(axes[:, 0], panels, strict=True):
        _line(axis, table, metric, distance, label="measured", color="C0", marker="o", markersize=3 if len(layers) < 60 else 1.5)
        for index, (label, other) in enumerate((references or {}).items()):
            style = ("--", ":", "-.")[index % 3]
            _line(axis, _drawn(other), metric, distance, label=label, color=f"C{index + 1}", linestyle=style)
        exact = 1.0 if metric in LARGER_IS_MORE_INVARIANT else _EXACT.get(distance)
        if exact is not None:
            axis.axhline(exact, color="0.6", linewidth=0.8, zorder=0)
        axis.set_ylabel(f"{metric}\n{distance}".strip(), fontsize="small")
        axis.spines[["top", "right"]].set_visible(False)
    if references:
        axes[0, 0].legend(frameon=False, fontsize="small")
    last = axes[-1, 0]
    last.set_xlim(0, 1.02)
    if len(layers) <= 20:  # few enough for their names to be read
        last.set_xticks(list(_depths(layers).values()), layers, rotation=40, ha="right", fontsize="small")
        last.set_xlabel("layer, by relative depth")
    else:
        last.set_xlabel(f"relative depth ({len(layers)} layers)")
    figure.suptitle(title, fontsize="medium")
    with files.atomic(path) as temporary:
        # Without a date in the file, equal tables give equal bytes.
        dated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(Path(path).suffix)
        figure.savefig(temporary, dpi=160, metadata=dated)
    plt.close(figure)


def check_format(path: str | Path) -> None:
    """Raise GeedError unless the path's suffix is one of `FORMATS`."""
    if Path(path).suffix not in FORMATS:
        raise GeedError(f"{path}: expected a figure that ends in {', '.join(FORMATS)}")


def _depths(layers: list[str]) -> dict[str, float]:
    """Each layer's place among those drawn, in (0, 1]."""
    return {layer: (index + 1) / len(layers) for index, layer in enumerate(layers)}


def _drawn(table: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of layers that have a value, with their depth."""
    table = table[(table["layer"] != "") & table["value"].notna()]
    return table.assign(depth=table["layer"].map(_depths(list(dict.fromkeys(table["layer"])))))


def _line(axis: "Axes", table: "pd.DataFrame", metric: str, distance: str, **style: object) -> "Line2D":
    rows = table[(table["metric"] == metric) & (table["distance"] == distance)]
    (line,) = axis.plot(rows["depth"], rows["value"], linewidth=1.2, **style)
    low, high = rows["value"] - 2 * rows["se"], rows["value"] + 2 * rows["se"]
    axis.fill_between(rows["depth"], low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return line
