"""K1: channelwise deviation by depth, the output's deviation beside it, and what share of each augmentation brought about."""

from typing import TYPE_CHECKING, Any

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("untrained", "plain", "augmented", "equivariant_raw", "equivariant")  # drawn in this order
_ACROSS = 3  # comparisons in a row


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw K1.

    Upper panels: deviation of every convolutional layer against its relative depth, and of the output. Lower panels: the share
    (plain − augmented) ÷ (plain − equivariant) of each layer that has one, and of the output.

    Raises:
        GeedError: no layer of any network has a deviation.
    """
    rows = tables.needed(parts, "deviation", result["id"])
    compared = tables.comparisons(rows)
    across = min(len(compared), _ACROSS)
    blocks = -(-len(compared) // across)
    drawing = style.new(style.COLUMN if across == 1 else style.PAGE, 3.4 * blocks)
    # Layers, output, and a gap before the next comparison.
    widths = ([3.2, 0.9, 0.12] * across)[:-1]
    grid = drawing.add_gridspec(2 * blocks, len(widths), width_ratios=widths, height_ratios=[1.35, 1] * blocks)
    shared: dict[str, Axes] = {}

    def panel(kind: str, row: int, column: int) -> "Axes":
        axes = drawing.add_subplot(grid[row, column], sharey=shared.get(kind))
        shared.setdefault(kind, axes)
        return axes

    for index, (comparison, group) in enumerate(compared):
        row, column = 2 * (index // across), 3 * (index % across)
        last = column == len(widths) - 2 or index == len(compared) - 1
        _deviation(
            panel("layers", row, column), parts, comparison, first=column == 0, title=tables.comparison_label(comparison, group)
        )
        _output(panel("output", row, column + 1), parts, comparison, last=last)
        _shares(panel("shares", row + 1, column), result, parts, comparison, first=column == 0)
        _output_share(panel("shares", row + 1, column + 1), result, parts, comparison)
    low, high = shared["shares"].get_ylim()
    shared["shares"].set_ylim(min(low, -0.1), max(high, 1.1))
    present = [name for name in _ROLES if name in set(rows["role"])]
    style.finish(drawing, _title(parts), _caption(result, parts, rows), style.key(sorted(present, key=list(style.ROLES).index)))
    return drawing


def _deviation(axes: "Axes", parts: "pd.DataFrame", comparison: str, *, first: bool, title: str) -> None:
    metric = ""
    for name in _ROLES:
        rows = tables.select(parts, "deviation", comparison=comparison, role=name).sort_values("depth")
        if len(rows):
            metric = metric or tables.metric_id(rows.iloc[0])
            style.points(axes, rows["depth"], tables.spans(rows), style.role(name), line=True)
    style.rule(axes, tables.exact(metric), "exact")
    style.depth_axis(axes)
    style.panel_label(axes, title)
    if first:
        axes.set_ylabel(
            "Deviation of the layer\n(channelwise, −cosine)"
            if metric.endswith("/cosine")
            else f"Deviation of the layer\n({tables.metric_label(metric)})"
        )
    else:
        axes.tick_params(labelleft=False)


def _output(axes: "Axes", parts: "pd.DataFrame", comparison: str, *, last: bool) -> None:
    metric, place = "", 0
    for name in sorted(_ROLES, key=list(style.ROLES).index):
        row = tables.one(parts, "output", comparison=comparison, role=name)
        if row is not None:
            metric = tables.metric_id(row)
            style.points(axes, [place], tables.spans(row), style.role(name))
            place += 1
    style.rule(axes, tables.exact(metric), "exact")
    _right(axes)
    axes.set_xlim(-0.7, max(place, 1) - 0.3)
    if last:
        axes.set_ylabel(f"Deviation of the\n{tables.metric_label(metric)}")
    else:
        axes.tick_params(labelright=False)


def _shares(axes: "Axes", result: dict[str, Any], parts: "pd.DataFrame", comparison: str, *, first: bool) -> None:
    rows = tables.select(parts, "layer_share", comparison=comparison).sort_values("depth")
    share = tables.one(parts, "share", comparison=comparison)
    look = style.role("augmented")
    for inside, chosen in ((True, rows[rows["depth"] < 1]), (False, rows[rows["depth"] >= 1])):
        if len(chosen):
            style.points(axes, chosen["depth"], tables.spans(chosen), look, filled=inside)
    if share is None:
        style.note(axes, "no share: the gap between\nplain and equivariant is small")
    else:
        axes.fill_between([0, 1.06], share["ci_low"], share["ci_high"], color=look.colour, alpha=0.2, linewidth=0)
        axes.plot([0, 1.06], [share["estimate"]] * 2, color=look.colour, linewidth=0.9)
    style.rule(axes, result.get("thresholds", {}).get("max_layer_share"), "threshold")
    style.depth_axis(axes, "Relative depth")
    output = tables.one(parts, "output_share", comparison=comparison)
    style.panel_label(axes, f"s = {tables.interval(share)}\no = {tables.interval(output)}")
    if first:
        axes.set_ylabel("Share that augmentation\nbrought about")
    else:
        axes.tick_params(labelleft=False)


def _output_share(axes: "Axes", result: dict[str, Any], parts: "pd.DataFrame", comparison: str) -> None:
    share = tables.one(parts, "output_share", comparison=comparison)
    if share is not None:
        style.points(axes, [0], tables.spans(share), style.role("augmented"))
    style.rule(axes, result.get("thresholds", {}).get("min_output_share"), "threshold")
    _right(axes)
    axes.tick_params(labelright=False)
    axes.set_xlim(-1, 1)
    axes.set_xlabel("Output")


def _right(axes: "Axes") -> None:
    """The value axis of an output's panel, on its right."""
    axes.set_xticks([])
    axes.yaxis.set_label_position("right")
    axes.spines["left"].set_visible(False)
    axes.spines["right"].set_visible(True)
    axes.tick_params(left=False, labelleft=False, right=True, labelright=True)


def _title(parts: "pd.DataFrame") -> str:
    layers, output = (tables.one(parts, part, comparison="all") for part in ("share", "output_share"))
    return (
        f"Of what a network equivariant by construction gains over a plain one, augmentation brings "
        f"{tables.interval(layers)} in the layers (s) "
        f"and {tables.interval(output)} in the output (o)"
    )


def _caption(result: dict[str, Any], parts: "pd.DataFrame", rows: "pd.DataFrame") -> str:
    accuracies = tables.select(parts, "accuracy")
    shown = ", ".join(
        f"{style.role(name).label} {accuracies[accuracies['role'] == name]['estimate'].mean():.3f}"
        for name in tables.values(accuracies["role"])
    )
    return (
        "Larger = less equivariant; dotted: exactly equivariant. Layers of the equivariant network are measured by their "
        "declared fields, or channel by channel as in Eq. 5 of Kvinge et al. 2022. Share: (plain − augmented) ÷ (plain − "
        "equivariant), of layers where the denominator is reliably above its least gap. Line and band: s, the mean of the filled "
        "points (the last layer, open, stays out). Dashed: threshold of the verdict. "
        + (f"Mean accuracy: {shown}. " if shown else "")
        + tables.sample(result, rows)
    )
