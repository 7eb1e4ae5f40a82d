"""M1: does the invariance of an answer outlive a shift of domain? DI and relative accuracy by share of another domain."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("augmented", "tied", "regularised")
_DI = "predictive_invariance"


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw M1 (Figure 4 of Moskalev et al. 2023), a column of panels for each comparison: DI above, relative accuracy below.

    Raises:
        GeedError: no network has a DI on blends.
    """
    rows = tables.needed(parts, "shift", result["id"])
    compared = tables.comparisons(rows)
    drawing = style.new(style.PAGE, 3.5)
    panels = drawing.subplots(2, len(compared), squeeze=False, sharex=True)
    for column, (comparison, group) in enumerate(compared):
        head = tables.comparison_label(comparison, group)
        above, below = panels[:, column]
        _curves(above, tables.select(parts, "shift", comparison=comparison, metric=_DI))
        style.rule(above, 0, "exact")
        style.panel_label(above, head)
        _curves(below, tables.select(parts, "relative_accuracy", comparison=comparison))
        below.set_xlabel("β, share of the other domain")
        if column == 0:
            above.set_ylabel("DI (nats)")
            below.set_ylabel("Accuracy(β) ÷ accuracy(0)")
    handles = style.key([name for name in _ROLES if name in set(rows["role"])])
    if len(tables.select(parts, "shift", metric=_DI)["published"].dropna()):
        handles += style.key(["published"], lines=False)
    style.finish(drawing, _title(parts, compared), _caption(result, rows), handles)
    return drawing


def _curves(axes: "Axes", rows: "pd.DataFrame") -> None:
    for name in _ROLES:
        mine = rows[rows["role"] == name].sort_values("severity")
        style.points(axes, mine["severity"] / 1000, tables.spans(mine), style.role(name), line=True)
        paper = mine[mine["published"].notna()]
        if len(paper):
            at = list(paper["severity"] / 1000)
            axes.plot(at, paper["published"], **style.marks(style.role("published")) | {"linestyle": "none", "clip_on": False})


def _title(parts: "pd.DataFrame", compared: list[tuple[str, str]]) -> str:
    found = []
    for comparison, group in compared:
        rise = tables.one(parts, "shift_rise", comparison=comparison)
        label = tables.group_label(group)
        found.append(f"{tables.interval(rise)} nats under {label}")
    return f"With the share of another domain, the augmented network's DI changes by {' and '.join(found)}"


def _caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    accuracies = "; ".join(f"{tables.words(run)} {value:.3f}" for run, value in result.get("accuracies", {}).items())
    return (
        "D(β) = (1 − β) × test image + β × image of the other domain. DI: KL divergence between the answers to an image and to "
        "its transformed copies, mean over the group; dotted: exactly invariant. "
        + ("The paper: its Figure 4 at β = 0.5, read off by eye. " if rows["published"].notna().any() else "")
        + (f"Accuracy on the study's own domain: {accuracies}. " if accuracies else "")
        + tables.sample(result, rows)
    )
