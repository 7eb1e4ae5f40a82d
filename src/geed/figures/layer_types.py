"""L1: which types of layers break equivariance, one bar a network, and how much in all."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables
from geed.figures.style import Role

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In the order in which they are stacked; the first four are the claim's.
_TYPES = {
    "activation": Role("non-linearity", style.VERMILLION, "s"),
    "pooling": Role("pooling", style.ORANGE, "s"),
    "strided_convolution": Role("strided convolution", style.YELLOW, "s"),
    "patch_embedding": Role("patch embedding", style.GREEN, "s"),
    "convolution": Role("convolution", style.BLUE, "s"),
    "attention": Role("attention", style.PURPLE, "s"),
    "normalisation": Role("normalisation", style.SKY, "s"),
    "other": Role("the rest", style.PALE, "s"),
}
_CLAIMED = 4
_TOTAL = Role("total", style.BLACK, "o")


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw L1: a row of two panels for each data set and transformation, shares by type of layer and the total.

    Raises:
        GeedError: no network has a layerwise deviation.
    """
    rows = tables.needed(parts, "layerwise", result["id"])
    cases = tables.comparisons(rows)
    arms = {case: tables.values(_of(rows, case)["arm"]) for case in cases}
    heights = [0.15 * len(own) + 0.42 for own in arms.values()]
    drawing = style.new(style.PAGE, sum(heights))
    grid = drawing.subplots(len(cases), 2, squeeze=False, height_ratios=heights, width_ratios=(2, 1))
    for (shares, totals), case in zip(grid, cases, strict=True):
        _bars(shares, _of(rows, case), arms[case])
        places = {arm: place for place, arm in enumerate(arms[case])}
        for _, row in _of(tables.select(parts, "total"), case).iterrows():
            if row["arm"] in places and row["estimate"] > 0:
                style.points(totals, [places[row["arm"]]], tables.spans(row), _TOTAL, horizontal=True)
        style.log_axis(totals, "x")
        style.panel_label(shares, f"{tables.words(case[0])}, {tables.transform_label(case[1])}")
        for axes in (shares, totals):
            axes.set_ylim(len(places) - 0.4, -0.6)
            axes.tick_params(left=False)
            axes.spines["left"].set_visible(False)
            axes.grid(visible=False, axis="y")
        totals.grid(axis="x")
        totals.tick_params(labelleft=False)
        shares.set_yticks(range(len(places)), [tables.words(arm) for arm in places])
    grid[-1][0].set_xlabel("share of the squared layerwise Lie deviation")
    grid[-1][1].set_xlabel("all layers together")
    handles = style.key([_TYPES[kind] for kind in _TYPES if kind in set(rows["layer"])], lines=False)
    style.finish(drawing, _title(parts), _caption(result, rows), handles)
    return drawing


def _of(rows: "pd.DataFrame", case: tuple[str, str]) -> "pd.DataFrame":
    return rows[(rows["comparison"] == case[0]) & (rows["group"] == case[1])]


def _bars(axes: "Axes", rows: "pd.DataFrame", arms: list[str]) -> None:
    for place, arm in enumerate(arms):
        own = rows[rows["arm"] == arm].set_index("layer")["estimate"]
        left, total = 0.0, own.sum()
        for index, (kind, look) in enumerate(_TYPES.items()):
            width = own.get(kind, 0.0) / total if total > 0 else 0.0
            axes.barh(place, width, 0.72, left=left, color=look.colour, edgecolor="white", linewidth=0.4)
            left += width
            if index == _CLAIMED - 1 and total > 0:
                axes.plot([left, left], [place - 0.45, place + 0.45], color=style.BLACK, linewidth=1.2)
    axes.axvline(0.5, color=style.BLACK, linewidth=0.7, linestyle=(0, (4, 2)))
    axes.set_xlim(0, 1)


def _title(parts: "pd.DataFrame") -> str:
    share = tables.one(parts, "share", comparison="all")
    words = f"Share of non-linearities, pooling and strided convolutions: {tables.interval(share)}"
    if not tables.select(parts, "change").empty:
        change = tables.one(parts, "change", comparison="all")
        words += f"; log of the total, anti-aliased ÷ strided: {tables.interval(change)}"
    return words


def _caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    return (
        "Squared norms of the layers' terms of the Lie derivative of the softmax (per unit t squared; translations in half image "
        "widths, rotations in radians), summed by type of layer. Heavy line: end of the four types that the claim is about; "
        f"dashed: one half. {tables.sample(result, rows)}"
    )
