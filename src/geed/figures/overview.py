"""One image's orbit and what networks make of it, from real activations: in the spirit of Fig 1 of Kvinge et al. 2022."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geed.figures import recorded, style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = ("plain", "augmented", "equivariant", "other", "contrastive", "pretrained")  # of the runs, in their order
_WORDS = {"raw": "raw channels", "field": "by its fields"}
_Z = 1.96


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `geed.study.orbit.record_orbit` wrote: its description and its arrays.

    Raises:
        GeedError: the file is absent, damaged, or not a recorded orbit.
    """
    return recorded.read(path, ("group", "elements", "runs", "data", "class", "n_images"), "a recorded orbit")


def figure(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Figure":
    """Draw the overview.

    Left: the image's orbit, and in each network's first and middle layer the feature map of every element, brought back by g⁻¹;
    equal pictures are equivariance. Right: deviation by depth.
    """
    runs = about["runs"]
    rows = [(index, version, _look(run, index, version)) for index, run in enumerate(runs) for version in _versions(run)]
    columns = max(len(run["layers"]) for run in runs)
    drawing = style.new(style.PAGE, 0.67 * (len(rows) + 1) + 0.2)
    left, right = drawing.subfigures(1, 2, width_ratios=[1, 0.3])
    grid = left.add_gridspec(len(rows) + 1, columns + 1, width_ratios=[0.22 * columns, *[1] * columns])
    images = arrays["images"]
    images = images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
    style.strip_label(left.add_subplot(grid[0, 0]), f"gx, orbit under {tables.group_label(about['group'])}")
    for column, layer in enumerate(("First", "Middle")[:columns]):
        axes = left.add_subplot(grid[0, column + 1])
        style.strip(axes, images, [tables.element(name) for name in about["elements"]], "gray")
        depths = {f"{run['layers'][column]['depth']:.2g}" for run in runs if column < len(run["layers"])}
        style.panel_label(axes, f"{layer} layer (depth {', '.join(sorted(depths))})")
    for row, (index, version, look) in enumerate(rows, start=1):
        style.strip_label(left.add_subplot(grid[row, 0]), look.label.replace(", ", ",\n"), look.colour)
        for column, layer in enumerate(runs[index]["layers"]):
            maps = arrays[f"{index}.{layer['name']}.{version}"]
            deviations = arrays[f"{index}.{layer['name']}.{version}.deviation"]
            style.strip(left.add_subplot(grid[row, column + 1]), maps, [tables.number(value) for value in deviations], "viridis")
    _profile(right.subplots(), about, arrays, rows)
    style.finish(drawing, _title(about, arrays), _caption(about), style.key(look for _, _, look in rows))
    return drawing


def _profile(
    axes: "Axes", about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], rows: list[tuple[int, str, style.Role]]
) -> None:
    for index, version, look in rows:
        value, reach = arrays[f"{index}.profile.{version}"].T * [[1], [_Z]]
        depth = (np.arange(len(value)) + 1) / len(value)
        style.points(axes, depth, np.stack([value, value - reach, value + reach], axis=1), look, line=True)
    style.rule(axes, -1, "exact")
    style.depth_axis(axes, "Relative depth")
    axes.set_ylabel("Deviation of the layer (channelwise, −cosine)")
    style.panel_label(axes, f"{about['n_images']:,} test images")


def _versions(run: Mapping[str, Any]) -> list[str]:
    return run["layers"][0]["versions"]


def _look(run: Mapping[str, Any], index: int, version: str) -> style.Role:
    """Runs take colours in their order; raw channels of a network with declared fields are open and dotted."""
    look = style.role(_LOOKS[index % len(_LOOKS)])
    declares = "field" in _versions(run)
    raw = declares and version == "raw"
    name = tables.words(run["name"]) + (f", {_WORDS[version]}" if declares else "")
    return style.Role(name, look.colour, look.marker, ":" if raw else "-", not raw)


def _title(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    means = [
        f"{tables.words(run['name'])} {tables.number(arrays[f'{index}.profile.{_versions(run)[-1]}'][:, 0].mean())}"
        for index, run in enumerate(about["runs"])
    ]
    group = tables.group_label(about["group"])
    return f"Deviation from equivariance under {group}, mean over layers (−1: exact): {', '.join(means)}"


def _caption(about: Mapping[str, Any]) -> str:
    fields = any("field" in _versions(run) for run in about["runs"])
    also = " 'By its fields': by the layer's own action, which permutes channels too." if fields else ""
    return (
        f"Top: one test image of {tables.words(about['data'])} (class {about['class']}) and its orbit. Below: feature maps, "
        "brought back by g⁻¹, one colour scale a strip; equal pictures are equivariance. Shown is the channel that varies most "
        f"over the image; the number is the deviation of the whole layer, −cosine averaged over channels.{also} Right: mean over "
        "the group and the images with its 95 % interval over images. Networks of one training seed."
    )
