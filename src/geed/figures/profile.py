"""The layer profile: every layerwise metric of a table of `geed.measure`, against the layers' relative depth."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from geed.errors import GeedError
from geed.figures import style
from geed.metrics.registry import LARGER_IS_MORE_INVARIANT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FORMATS = (".png", ".pdf")

# What an exactly invariant or equivariant network scores, by distance; 1 for metrics of which more is more invariant.
_EXACT = {"cosine": -1.0, "one_minus_cosine": 0.0, "l2": 0.0, "kl": 0.0}
_COLOURS = (style.GREY, style.GREEN, style.VERMILLION)
_LINES = ("--", ":", "-.")
_NAMED = 20  # so many layer names can be read below the axis


def layer_profile(
    table: "pd.DataFrame", path: str | Path, title: str = "", references: "Mapping[str, pd.DataFrame] | None" = None
) -> None:
    """Draw one panel for each layerwise metric and distance of a table, with a band of two standard errors.

    A thin line marks what an exactly invariant network scores, where the metric's definition says it.

    Args:
        table: what `geed.measure` returned; rows with a layer and a value are drawn, in the table's order.
        path: where to write; the suffix is one of `FORMATS`.
        title: which network and group.
        references: label -> such a table of another network, drawn without markers against its own relative depth: the floor
            (an exactly equivariant network), the null (untrained weights). At most three.

    Raises:
        GeedError: no layer has a value, or the path has another suffix.
    """
    check_format(path)
    from matplotlib.lines import Line2D

    table, references = _drawn(table), {label: _drawn(other) for label, other in (references or {}).items()}
    if table.empty:
        raise GeedError("layer profile: no layer of the table has a value to draw")
    layers = list(dict.fromkeys(table["layer"]))
    panels = {key: len(rows) for key, rows in table.groupby(["metric", "distance"], sort=False)}
    heights = [1.7 if count > 4 else 1.0 for count in panels.values()]  # a metric of the last few layers is no profile
    with style.context():
        figure = style.new(style.PAGE, sum(heights) + 0.4)
        axes = figure.subplots(len(panels), 1, height_ratios=heights, sharex=True, squeeze=False)[:, 0]
        looks = list(zip(references, _COLOURS, _LINES, strict=False))
        for axis, (metric, distance) in zip(axes, panels, strict=True):
            for label, colour, line in looks:
                _line(axis, references[label], metric, distance, color=colour, linestyle=line)
            _line(axis, table, metric, distance, color=style.BLUE, marker="o", markersize=3 if len(layers) < 60 else 1.5)
            exact = 1.0 if metric in LARGER_IS_MORE_INVARIANT else _EXACT.get(distance)
            if exact is not None:
                axis.axhline(exact, color=style.BLACK, linewidth=0.7, linestyle=(0, (1, 1)), zorder=1)
            style.panel_label(axis, f"{metric}/{distance}" if distance else metric)
        axes[-1].set_xlim(0, 1.02)
        if len(layers) <= _NAMED:
            axes[-1].set_xticks(list(_depths(layers).values()), layers, rotation=40, ha="right")
        axes[-1].set_xlabel(f"relative depth among {len(layers)} layers")
        handles = [Line2D([], [], color=style.BLUE, marker="o", markersize=3, label="measured")]
        handles += [Line2D([], [], color=colour, linestyle=line, label=label) for label, colour, line in looks]
        images = int(table["n_images"].max())
        caption = f"Mean over {images} images; bands are two standard errors over images. Dotted: an exactly invariant network."
        style.finish(figure, title, caption, handles if references else ())
        pdf = Path(path).suffix == ".pdf"
        style.save(figure, path if pdf else None, None if pdf else path)


def check_format(path: str | Path) -> None:
    """Raise GeedError unless the path's suffix is one of `FORMATS`."""
    if Path(path).suffix not in FORMATS:
        raise GeedError(f"{path}: expected a figure that ends in {' or '.join(FORMATS)}")


def _depths(layers: list[str]) -> dict[str, float]:
    """Each layer's place among those drawn, in (0, 1]."""
    return {layer: (index + 1) / len(layers) for index, layer in enumerate(layers)}


def _drawn(table: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of layers that have a value, with their depth."""
    table = table[(table["layer"] != "") & table["value"].notna()]
    return table.assign(depth=table["layer"].map(_depths(list(dict.fromkeys(table["layer"])))))


def _line(axis: "Axes", table: "pd.DataFrame", metric: str, distance: str, *, color: str, **look: object) -> None:
    rows = table[(table["metric"] == metric) & (table["distance"] == distance)]
    low, high = rows["value"] - 2 * rows["se"], rows["value"] + 2 * rows["se"]
    axis.fill_between(rows["depth"], low, high, color=color, alpha=0.2, linewidth=0)
    axis.plot(rows["depth"], rows["value"], color=color, **look)
