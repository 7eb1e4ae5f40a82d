"""K5: deviation of the features by training objective, with accuracy beside it."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables
from geed.figures.tables import LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("supervised", "contrastive", "other", "shown", "equivariant", "untrained")  # top to bottom


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw K5: one row of panels for each comparison, one panel for each metric (the deciding one first) and one for accuracy.

    Raises:
        GeedError: no network has a deviation.
    """
    rows = tables.needed(parts, "deviation", result["id"])
    blocks = {pair: _arms(rows[rows["comparison"] == pair[0]]) for pair in tables.comparisons(rows)}
    metrics = _metrics(parts, rows)
    accurate = len(tables.select(parts, "accuracy")) > 0
    heights = [0.2 * len(arms) + 0.65 for arms in blocks.values()]
    drawing = style.new(style.PAGE, sum(heights))
    drawing.get_layout_engine().set(wspace=0.06)
    grid = drawing.add_gridspec(len(blocks), len(metrics) + accurate, height_ratios=heights)
    for row, (pair, arms) in enumerate(blocks.items()):
        for column, metric in enumerate(metrics):
            axes = drawing.add_subplot(grid[row, column])
            name, _, distance = metric.partition("/")
            _panel(
                axes, parts, tables.select(parts, "deviation", comparison=pair[0], metric=name, distance=distance), arms, metric
            )
            label = tables.metric_label(metric).replace(", ", ",\n")
            style.panel_label(axes, label if "\n" in label else f"{label}\n ")
            _names(axes, arms if column == 0 else None)
            if column == 0 and len(blocks) > 1:
                axes.set_ylabel(tables.comparison_label(*pair))
            if row == len(blocks) - 1:
                axes.set_xlabel("← less invariant" if tables.falls_with_deviation(metric) else "less invariant →")
        if accurate:
            axes = drawing.add_subplot(grid[row, len(metrics)])
            _panel(axes, parts, tables.select(parts, "accuracy", comparison=pair[0]), arms, "accuracy")
            style.panel_label(axes, "accuracy\n(linear probe)")
            _names(axes, None)
            axes.set_xlim(0, 1.03)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    handles = style.key([name for name in _ROLES if name in set(rows["role"])], lines=False)
    style.finish(drawing, _title(parts, metrics), _caption(result, rows, list(blocks)), handles)
    return drawing


def _panel(axes: "Axes", parts: "pd.DataFrame", rows: "pd.DataFrame", arms: list[tuple[str, str]], metric: str) -> None:
    for place, (role, arm) in enumerate(arms):
        for _, row in rows[(rows["role"] == role) & (rows["arm"] == arm)].iterrows():
            test = tables.one(
                parts, "difference", comparison=row["comparison"], arm=arm, metric=row["metric"], distance=row["distance"]
            )
            sure = test is None or not test["p_holm"] >= LEVEL
            style.points(axes, [place], tables.spans(row), style.role(role), horizontal=True, filled=sure)
            if role == "supervised" and metric != "accuracy":
                axes.axvline(row["estimate"], color=style.role(role).colour, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=3)


def _names(axes: "Axes", arms: list[tuple[str, str]] | None) -> None:
    axes.tick_params(left=False)
    if arms is None:
        axes.tick_params(labelleft=False)
    else:
        axes.set_yticks(range(len(arms)), [tables.words(arm) for _, arm in arms], size=style.MEDIUM)


def _arms(rows: "pd.DataFrame") -> list[tuple[str, str]]:
    """(role, arm) of a comparison, in the order of `_ROLES`."""
    found = tables.values(zip(rows["role"], rows["arm"], strict=True))
    return sorted(found, key=lambda arm: _ROLES.index(arm[0]) if arm[0] in _ROLES else len(_ROLES))


def _metrics(parts: "pd.DataFrame", rows: "pd.DataFrame") -> list[str]:
    """All metrics, the one that decides first: it is the one whose differences are tested."""
    tested = tables.select(parts, "difference")
    tested = tested[tested["p_holm"].notna()]
    return tables.values(
        [*(tables.metric_id(row) for _, row in tested.iterrows()), *(tables.metric_id(row) for _, row in rows.iterrows())]
    )


def _title(parts: "pd.DataFrame", metrics: list[str]) -> str:
    name, _, distance = metrics[0].partition("/")
    tested = tables.select(parts, "difference", metric=name, distance=distance)
    tested = tested[tested["p_holm"].notna()]
    more = tested[(tested["estimate"] > 0) & (tested["p_holm"] < LEVEL)]["arm"].value_counts()
    counts = {arm: (more.get(arm, 0), total) for arm, total in tested["arm"].value_counts(sort=False).items()}
    found = f"Features more invariant than the supervised network's ({tables.metric_label(metrics[0])}): "
    if len(set(tested["comparison"])) > 1:
        return found + ", ".join(f"{tables.words(arm)} in {count} of {total}" for arm, (count, total) in counts.items())
    yes, no = ([tables.words(arm) for arm, (count, _) in counts.items() if bool(count) is wanted] for wanted in (True, False))
    if yes:
        return found + ", ".join(yes) + (f", but not {', '.join(no)}" if no else "")
    return f"{found}none of {', '.join(no)}" if no else f"{found}not tested"


def _caption(result: dict[str, Any], rows: "pd.DataFrame", compared: list[tuple[str, str]]) -> str:
    about = f"{tables.comparison_label(*compared[0])}. " if len(compared) == 1 else ""
    return (
        f"{about}Dashed: the supervised network. Open markers: no difference from it after Holm's correction (5 %). 'Equivariant "
        "by construction' is the floor, 'untrained' the null. M: mean cosine of different images. The accuracy of a "
        f"self-supervised network is that of a linear classifier on its features. {tables.sample(result, rows)}"
    )
