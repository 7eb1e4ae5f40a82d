"""One image's orbit and what networks make of it, from real activations: in the spirit of Fig 1 of Kvinge et al. 2022."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geed.errors import GeedError
from geed.figures import style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = ("plain", "augmented", "equivariant", "other", "contrastive", "pretrained")  # of the runs, in their order
_TILE, _GAP = 1.0, 0.12  # pictures, and the space between them
_Z = 1.96


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `geed.study.orbit.record_orbit` wrote: its description and its arrays.

    Raises:
        GeedError: the file is absent, damaged, or not a recorded orbit.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise GeedError(f"{path}: no such file")
    try:
        with safe_open(path, framework="np") as stream:
            about = json.loads((stream.metadata() or {})["geed"])
            return {key: about[key] for key in ("group", "elements", "runs", "data", "class", "n_images")}, {
                name: stream.get_tensor(name)
                for name in stream.keys()  # noqa: SIM118 (not a mapping)
            }
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise GeedError(f"{path}: expected a recorded orbit (safetensors), found something damaged or else ({error})") from error


def figure(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Figure":
    """Draw the overview.

    Left: the image's orbit, and in each network's first and middle layer the feature map of every element, brought back by g⁻¹;
    equal pictures are equivariance. Right: deviation by depth.
    """
    rows = [
        (run, index, version)
        for index, run in enumerate(about["runs"])
        for version in ("raw", "field")
        if version in run["layers"][0]["versions"]
    ]
    columns = max(len(run["layers"]) for run in about["runs"])
    drawing = style.new(style.PAGE, 0.72 * (len(rows) + 1) + 0.2)
    left, right = drawing.subfigures(1, 2, width_ratios=[1, 0.36])
    grid = left.add_gridspec(len(rows) + 1, columns + 1, width_ratios=[0.24 * columns, *[1] * columns])
    images = arrays["images"]
    for column in range(columns):
        axes = left.add_subplot(grid[0, column + 1])
        _strip(axes, images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1), about["elements"], "gray")
        place = {layer["depth"] for run in about["runs"] for layer in run["layers"][column : column + 1]}
        depth = f"at depth {place.pop():.2g}" if len(place) == 1 else ""
        style.panel_label(
            axes,
            f"{'First' if column == 0 else 'Middle'} layer, {depth}"
            if depth
            else f"{'First' if column == 0 else 'Middle'} layer",
        )
    _label(left.add_subplot(grid[0, 0]), f"gx: orbit under {tables.group_label(about['group'])}")
    for row, (run, index, version) in enumerate(rows, start=1):
        declared = len(run["layers"][0]["versions"]) > 1
        note = {"raw": ",\nraw channels", "field": ",\nby its fields"}[version] if declared else ""
        _label(left.add_subplot(grid[row, 0]), tables.words(run["name"]) + note, _look(index).colour)
        for column, layer in enumerate(run["layers"]):
            maps, deviation = arrays[f"{index}.{layer['name']}.{version}"], arrays[f"{index}.{layer['name']}.{version}.deviation"]
            _strip(left.add_subplot(grid[row, column + 1]), maps, [tables.number(value) for value in deviation], "viridis")
    _profile(right.subplots(), about, arrays, rows)
    style.finish(drawing, _title(about, arrays), _caption(about), [])
    return drawing


def _strip(axes: "Axes", pictures: np.ndarray, below: list[str], colours: str) -> None:
    """Pictures (n, h, w) side by side on one colour scale, a word or number below each."""
    low, high = float(pictures.min()), float(pictures.max())
    for index, (picture, words) in enumerate(zip(pictures, below, strict=True)):
        start = index * (_TILE + _GAP)
        axes.imshow(picture, cmap=colours, vmin=low, vmax=high, extent=(start, start + _TILE, 0, _TILE), interpolation="nearest")
        axes.text(start + _TILE / 2, -0.06, words, ha="center", va="top", size=style.SMALL)
    axes.set_xlim(0, len(pictures) * (_TILE + _GAP) - _GAP)
    axes.set_ylim(-0.3, _TILE)
    axes.set_aspect("equal")
    axes.axis("off")


def _label(axes: "Axes", text: str, colour: str = style.BLACK) -> None:
    axes.text(1, 0.5 + 0.15 / 1.3, text, ha="right", va="center", size=style.MEDIUM, color=colour, transform=axes.transAxes)
    axes.axis("off")


def _profile(
    axes: "Axes", about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], rows: list[tuple[Mapping[str, Any], int, str]]
) -> None:
    for run, index, version in rows:
        values = arrays[f"{index}.profile.{version}"]
        depth = (np.arange(len(values)) + 1) / len(values)
        look = _look(index)
        if version == "raw" and len(run["layers"][0]["versions"]) > 1:
            look = style.Role(look.label, look.colour, look.marker, ":", filled=False)
        style.points(
            axes, depth, values[:, 0], values[:, 0] - _Z * values[:, 1], values[:, 0] + _Z * values[:, 1], look, line=True
        )
    axes.axhline(-1, color=style.BLACK, linewidth=0.7, linestyle=(0, (1, 1)), zorder=1)
    axes.set_xlim(0, 1.06)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_xlabel("Relative depth of the layer")
    axes.set_ylabel("Deviation (channelwise, −cosine)")
    style.panel_label(axes, f"{about['n_images']:,} test images")


def _look(index: int) -> style.Role:
    return style.role(_LOOKS[index % len(_LOOKS)])


def _title(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    last = []
    for index, run in enumerate(about["runs"]):
        version = run["layers"][0]["versions"][-1]
        last.append(f"{tables.words(run['name'])} {tables.number(float(arrays[f'{index}.profile.{version}'][:, 0].mean()))}")
    return (
        f"Deviation from equivariance under {tables.group_label(about['group'])}, mean over layers (−1: exact): {', '.join(last)}"
    )


def _caption(about: Mapping[str, Any]) -> str:
    fields = any("field" in run["layers"][0]["versions"] for run in about["runs"])
    also = " 'By its fields': by the layer's own action, which permutes channels too." if fields else ""
    return (
        f"Top: one test image of {tables.words(about['data'])} (class {about['class']}) and its orbit. Below: feature map of "
        f"each network, brought back by g⁻¹, one colour scale "
        f"a strip; equal pictures are equivariance. Shown is the channel that varies most over the image; the number is the "
        f"deviation of the whole layer, −cosine "
        f"averaged over channels.{also} Right: mean over the group and the images with its 95 % interval over images; "
        f"networks of one training seed. Activations are recorded, not drawn."
    )
