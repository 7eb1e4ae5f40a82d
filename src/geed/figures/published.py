"""M2: the paper's Table 1 rebuilt: accuracy, LI, DI and SI of each network beside what was published."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("augmented", "tied", "regularised", "regularised_kl", "regularised_normalized_l2")  # top to bottom
# Metric -> its panel's title, and from where on its axis is logarithmic (None: nowhere).
_PANELS = {
    "accuracy": ("Accuracy", None),
    "logit_invariance": ("LI (0: invariant)", 0.01),
    "predictive_invariance": ("DI, nats (0: invariant)", 0.001),
    "saliency_similarity": ("SI (1: invariant)", None),
}


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw M2 (Table 1 of Moskalev et al. 2023), a row of panels for each comparison, one for each metric.

    Raises:
        GeedError: no network has a level.
    """
    rows = tables.needed(parts, "level", result["id"])
    compared = tables.comparisons(rows)
    metrics = [metric for metric in _PANELS if metric in set(rows["metric"])]
    drawing = style.new(style.PAGE, 1.75 * len(compared) + 0.15)
    grid = drawing.add_gridspec(len(compared), len(metrics))
    for row, (comparison, group) in enumerate(compared):
        mine = rows[rows["comparison"] == comparison]
        present = [name for name in _ROLES if name in set(mine["role"])]
        for column, metric in enumerate(metrics):
            axes = drawing.add_subplot(grid[row, column])
            _panel(axes, mine[mine["metric"] == metric], present, metric)
            title = _PANELS[metric][0]
            style.panel_label(axes, f"{tables.comparison_label(comparison, group)}\n{title}" if column == 0 else f"\n{title}")
            axes.set_yticks(range(len(present)), [style.role(name).label for name in present] if column == 0 else [])
    handles = style.key([name for name in _ROLES if name in set(rows["role"])], lines=False)
    if rows["published"].notna().any():
        handles += style.key(["published"], lines=False)
    style.finish(drawing, _title(parts), _caption(result, rows), handles)
    return drawing


def _panel(axes: "Axes", rows: "pd.DataFrame", present: list[str], metric: str) -> None:
    linear = _PANELS[metric][1]
    if linear is not None:
        axes.set_xscale("symlog", linthresh=linear, linscale=0.9)
    for place, name in enumerate(present):
        for _, row in rows[rows["role"] == name].iterrows():
            own, paper = (np.nan_to_num(row[key]) for key in ("std", "published_std"))
            ours = (row["estimate"], row["estimate"] - own, row["estimate"] + own)
            style.points(axes, [place - 0.13], [ours], style.role(name), horizontal=True)
            if row["published"] == row["published"]:
                theirs = (row["published"], row["published"] - paper, row["published"] + paper)
                style.points(axes, [place + 0.2], [theirs], style.role("published"), horizontal=True)
            if row["z"] == row["z"]:
                # At the panel's right edge, outside what is drawn.
                text = f"{row['z']:+.1f}".replace("-", "−")
                axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", size=style.SMALL)
    axes.set_ylim(len(present) - 0.5, -0.7)
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    if linear is None:
        axes.locator_params(axis="x", nbins=4)
    else:
        top = max([linear, *rows["estimate"], *rows["published"].dropna()])
        ticks = [0, *(10.0**power for power in range(round(np.log10(linear)), int(np.ceil(np.log10(top))) + 1, 2))]
        axes.set_xlim(-linear / 2, 3 * top)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _title(parts: "pd.DataFrame") -> str:
    similarity, logits, shift = (
        tables.one(parts, part, comparison="all") for part in ("similarity", "logit_ratio", "shift_ratio")
    )
    return (
        f"The regularised network: SI {tables.interval(similarity)}; LI {tables.interval(logits)} and, at the worst share of "
        f"another domain, DI {tables.interval(shift)} of the augmented network's"
    )


def _caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    z = "At the right: z, the difference to the paper in units of the combined standard deviation, with that of rounding. "
    beside = z if rows["z"].notna().any() else ""
    return (
        f"Bars: ± standard deviation over training seeds. {beside}LI: half the squared distance of logits; DI: KL divergence of "
        "answers; SI: cosine of saliency maps, brought back by g⁻¹. Axes of LI and DI are logarithmic, linear next to 0. In the "
        f"title: m{tables.sample(result, rows)[1:]}"
    )
