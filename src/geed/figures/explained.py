"""What networks look at along an orbit, and where their features lie: Figures 1 to 3 of Moskalev et al. 2023."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import recorded, style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("augmented", "tied", "regularised")
_KEYS = ("comparisons", "images", "classes", "names", "data", "embedded")
# Colours of Okabe and Ito; a tenth class and more come round again, and every class has its name where its points lie.
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.VERMILLION, style.GREY, style.YELLOW, "#8C6D31")


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `geed.study.explain.record` wrote: its description and its arrays.

    Raises:
        GeedError: the file is absent, damaged, or something else.
    """
    return recorded.read(path, _KEYS, "recorded saliency maps and embeddings")


def saliency(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Figure":
    """Draw the saliency maps of each network along the orbits of the images, brought back by g⁻¹ (Figures 1 and 3)."""
    comparisons = about["comparisons"]
    orders = [len(entry["elements"]) for entry in comparisons.values()]
    rows = (1 + len(_ROLES)) * len(about["images"])
    drawing = style.new(style.PAGE, 0.85 * rows + 0.2)
    halves = drawing.subfigures(1, len(comparisons), squeeze=False, width_ratios=[order + 1 for order in orders])[0]
    for half, (name, entry) in zip(halves, comparisons.items(), strict=True):
        grid = half.add_gridspec(rows, 2, width_ratios=[1, len(entry["elements"])])
        for index in range(len(about["images"])):
            top = index * (1 + len(_ROLES))
            images = arrays[f"{name}.orbit"][index]
            axes = half.add_subplot(grid[top, 1])
            style.strip(axes, _pictures(images), [tables.element(element) for element in entry["elements"]], "gray")
            axes.set_anchor("W")
            if index == 0:
                style.panel_label(axes, tables.comparison_label(name, entry["group"]))
            style.strip_label(half.add_subplot(grid[top, 0]), f"gx, class {about['classes'][index]}")
            for place, role in enumerate(_ROLES, start=1):
                look = style.role(role)
                maps, found = (arrays[f"{name}.{role}.{kind}"][index] for kind in ("maps", "similarity"))
                axes = half.add_subplot(grid[top + place, 1])
                brightest = np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(maps.dtype).tiny)
                style.strip(axes, maps / brightest, [tables.number(value) for value in found], "viridis")
                axes.set_anchor("W")
                style.strip_label(half.add_subplot(grid[top + place, 0]), look.label.replace(", ", ",\n"), look.colour)
    found = {role: np.mean([arrays[f"{name}.{role}.similarity"][:, 1:].mean() for name in comparisons]) for role in _ROLES}
    means = "; ".join(f"{style.role(role).label} {tables.number(value)}" for role, value in found.items())
    caption = (
        f"Orbits of test images of {tables.words(about['data'])}. Below each: saliency maps of gx for the image's class "
        "(integrated gradients, values below 0.9 of the maximum dropped, smoothed), brought back by g⁻¹, each on its own "
        "scale; equal maps are genuine invariance. Numbers: cosine to the map of the image as it is. Networks of one training "
        "seed."
    )
    title = f"Similarity of saliency maps along the orbits shown, without the identity: {means}"
    style.finish(drawing, title, caption)
    return drawing


def embedding(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Figure":
    """Draw where the features of test images lie, and the orbit of one of them among them (Figure 2)."""
    comparisons = about["comparisons"]
    drawing = style.new(style.PAGE, 2.3 * len(comparisons))
    panels = drawing.subplots(len(comparisons), len(_ROLES), squeeze=False)
    spreads: dict[str, list[float]] = {role: [] for role in _ROLES}
    for row, (name, entry) in zip(panels, comparisons.items(), strict=True):
        for axes, role in zip(row, _ROLES, strict=True):
            points, order = arrays[f"{name}.{role}.embedding"], len(entry["elements"])
            _scatter(axes, points[order:], arrays["classes"], about["names"])
            _trace(axes, points[:order])
            spread = _spread(points[:order]) / _spread(points[order:])
            spreads[role].append(spread)
            style.panel_label(axes, f"{style.role(role).label}: {tables.number(spread)}")
        row[0].set_ylabel(tables.comparison_label(name, entry["group"]))
    means = "; ".join(f"{style.role(role).label} {tables.number(float(np.mean(found)))}" for role, found in spreads.items())
    caption = (
        f"t-SNE of the penultimate layer, of {about['embedded']:,} test images of {tables.words(about['data'])}, each moved by a "
        f"random element of the group, and of the orbit (black, joined in its order; star: the image as it is) of one image of "
        f"class {about['classes'][0]}. Colours and names: classes. Numbers: root mean squared distance from the mean, of the "
        "orbit ÷ of all images; t-SNE keeps neighbours, not distances, so they are a rough guide. Networks of one training seed."
    )
    title = f"Spread of one image's orbit in the embedded features, ÷ that of all images: {means}"
    style.finish(drawing, title, caption)
    return drawing


def _pictures(images: np.ndarray) -> np.ndarray:
    """(n, C, H, W) as imshow takes them."""
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)


def _scatter(axes: "Axes", points: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> None:
    for label in np.unique(classes):
        mine = points[classes == label]
        axes.plot(
            *mine.T, linestyle="none", marker=".", markersize=1.6, color=_COLOURS[label % len(_COLOURS)], alpha=0.6, zorder=1
        )
    for label in np.unique(classes):
        middle = np.median(points[classes == label], axis=0)
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
        axes.text(*middle, names[label], ha="center", va="center", size=style.SMALL, bbox=box, zorder=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def _trace(axes: "Axes", points: np.ndarray) -> None:
    axes.plot(*points.T, color=style.BLACK, marker="o", markersize=3.5, markeredgecolor="white", linewidth=0.9, zorder=3)
    axes.plot(*points[0], color=style.BLACK, marker="*", markersize=7, markeredgecolor="white", linestyle="none", zorder=4)


def _spread(points: np.ndarray) -> float:
    """Root mean squared distance from the mean."""
    return float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean()))
