"""P31: invariance of a network and of its features, on random constructions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEAST = 1e-17  # float64 resolves no less; exact zeros are drawn here
_PARTS = {"features": style.Role("features f₁", style.VERMILLION, "s"), "output": style.Role("network f", style.BLUE, "o")}
_HEADS = {"cancelling": "(1) f₁ made not invariant", "invariant_features": "(2) f₁ made invariant"}


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw P31: relative deviation of features and network, a point for each construction, a panel for each kind of it.

    Raises:
        GeedError: there are no constructions.
    """
    rows = tables.needed(parts, "output", result["id"])
    groups, kinds = tables.values(rows["group"]), [kind for kind in _HEADS if kind in set(rows["role"])]
    drawing = style.new(style.COLUMN, 2.0)
    panels = drawing.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for place, group in enumerate(groups):
            for side, (part, look) in zip((-0.17, 0.17), _PARTS.items(), strict=True):
                scatter(axes, place + side, tables.select(parts, part, role=kind, group=group)["estimate"], look)
        finish_axes(axes, result, [tables.group_label(group) for group in groups])
        style.panel_label(axes, _HEADS[kind])
    panels[0].set_ylabel("Relative deviation")
    found = _worst(parts, "output")
    apart = _worst(parts, "features", "cancelling", least=True)
    title = f"The networks f deviate by at most {power(found)}, also where their features f₁ deviate by {apart:.2g} or more"
    style.finish(drawing, title, caption(result, rows), style.key(_PARTS.values(), lines=False))
    return drawing


def scatter(axes: Any, place: float, values: "pd.Series", look: style.Role, width: float = 0.24) -> None:
    """Points of all constructions about a place on the x axis, spread evenly so that they can be told apart."""
    spread = np.linspace(-width / 2, width / 2, len(values))
    marks = style.marks(look) | {"markersize": 2, "markeredgewidth": 0, "alpha": 0.6}
    axes.plot(place + spread, values.clip(lower=LEAST), linestyle="none", **marks)


def finish_axes(axes: Any, result: dict[str, Any], names: list[str]) -> None:
    """A logarithmic axis of deviations with the threshold of "zero to rounding", and names below."""
    axes.set_yscale("log")
    axes.set_ylim(LEAST / 2, 10)
    style.rule(axes, result.get("thresholds", {}).get("tolerance"), "threshold")
    axes.set_xlim(-0.5, len(names) - 0.5)
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len("".join(names)) > 14 else {}
    axes.set_xticks(range(len(names)), names, **slanted)


def caption(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    """What the points are."""
    count = int(rows.groupby("group")["construction"].nunique().max())
    images = f" over {int(rows['n_images'].max())} random images" if rows["n_images"].notna().any() else ""
    zeros = f"; exact zeros are drawn at {power(LEAST)}" if (rows["estimate"] < LEAST).any() else ""
    return (
        f"Each point: one random network, its worst relative deviation{images} and the group, in float64 ({count} constructions "
        f"a group{zeros}). Dashed: below it counts as zero to rounding. {result['id']}: {result['verdict']}."
    )


def power(value: float) -> str:
    """A small number with its power of ten.

    >>> power(4.2e-16)
    '4 × 10⁻¹⁶'
    """
    digits, _, exponent = f"{value:.0e}".partition("e")
    return f"{digits} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _worst(parts: "pd.DataFrame", part: str, role: str | None = None, *, least: bool = False) -> float:
    values = tables.select(parts, part, **({"role": role} if role else {}))["estimate"]
    return float("nan") if values.empty else values.min() if least else values.max()
