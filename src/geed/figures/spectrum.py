"""M3: do regularised networks become invariant by growing insensitive? Largest singular value of the Jacobian, with accuracy."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("augmented", "tied", "regularised", "regularised_kl", "regularised_normalized_l2")


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw M3 (Figure 5 of Moskalev et al. 2023), a panel for each comparison: accuracy against σ_max, and the paper's beside it.

    Raises:
        GeedError: no network has a level.
    """
    rows = tables.needed(parts, "level", result["id"])
    compared = tables.comparisons(rows)
    drawing = style.new(style.PAGE if len(compared) > 1 else style.COLUMN, 2.3)
    panels = drawing.subplots(1, len(compared), squeeze=False)[0]
    for axes, (comparison, group) in zip(panels, compared, strict=True):
        _panel(axes, rows[rows["comparison"] == comparison])
        style.panel_label(axes, tables.comparison_label(comparison, group))
        axes.set_xlabel("σ, largest singular value of the Jacobian of the logits")
    panels[0].set_ylabel("Accuracy")
    handles = style.key([name for name in _ROLES if name in set(rows["role"])], lines=False)
    if rows["published"].notna().any():
        handles += style.key(["published_open"], lines=False)
    style.finish(drawing, _title(parts, compared), _caption(result, rows), handles)
    return drawing


def _panel(axes: "Axes", rows: "pd.DataFrame") -> None:
    for name in _ROLES:
        norm, accuracy = (tables.one(rows, "level", role=name, metric=metric) for metric in ("jacobian_norm", "accuracy"))
        if norm is None or accuracy is None:
            continue
        look = style.role(name)
        axes.vlines(norm["estimate"], accuracy["ci_low"], accuracy["ci_high"], color=look.colour, linewidth=0.9, zorder=2.5)
        style.points(axes, [accuracy["estimate"]], tables.spans(norm), look, horizontal=True)
        theirs = norm["published"], accuracy["published"]
        if all(value == value for value in theirs):
            joined = zip((norm["estimate"], accuracy["estimate"]), theirs, strict=True)
            axes.plot(*joined, color=look.colour, linewidth=0.6, linestyle=":", zorder=2)
            axes.plot(*theirs, **style.marks(look, filled=False), linestyle="none", zorder=3)
    axes.set_xlim(left=0)
    axes.grid(axis="x")


def _title(parts: "pd.DataFrame", compared: list[tuple[str, str]]) -> str:
    found = []
    for comparison, group in compared:
        ratios = [tables.one(parts, "norm_ratio", comparison=comparison, role=name) for name in _ROLES[2:]]
        known = sorted(row["estimate"] for row in ratios if row is not None)
        spread = f"{tables.number(known[0])} to {tables.number(known[-1])}" if known else "n/a"
        found.append(f"{spread} under {tables.group_label(group)}")
    return f"Largest singular value of the Jacobian, regularised ÷ augmented: {', '.join(found)}"


def _caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    paper = "Open, joined to its network by a dotted line: the paper's Figure 5, read off by eye (σ to about 5 %). "
    return (
        f"{paper if rows['published'].notna().any() else ''}The smaller σ, the less the logits change under any perturbation of "
        f"the image. {tables.sample(result, rows)}"
    )
