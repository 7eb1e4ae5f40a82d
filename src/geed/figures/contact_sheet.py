"""Contact sheet: one image under every corruption at every severity, by family, beside the original."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geed.data import store
from geed.data.corruptions import FAMILIES
from geed.errors import GeedError
from geed.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.06  # between pictures, in picture widths
_HEADING = 0.55  # above a family, in picture heights
_TOP = 0.5  # for the column titles, in picture heights
_LABEL = 2.6  # beside a row, in picture widths


def draw(
    prepared: str | Path, corrupted: str | Path, pdf: str | Path | None, png: str | Path | None, image: int | None = None
) -> dict[str, str]:
    """Draw the sheet of one image of a prepared set's test split and write it as PDF and PNG.

    Args:
        prepared: the set, as `geed.study.prepare.prepare` wrote it.
        corrupted: its corrupted test split, as `geed.study.corrupt.corrupt` wrote it.
        pdf: output, or None.
        png: output, 300 dots an inch, or None.
        image: which image, by its position in the split; None takes the one with the most contrast.

    Returns:
        Its `title` and `caption`.

    Raises:
        GeedError: an input is absent or damaged, there is no such image, or an output cannot be written.
    """
    clean = store.read(prepared, "test")
    if image is None:
        image = int(clean.images.flatten(1).std(1).argmax())
    if not 0 <= image < len(clean):
        raise GeedError(f"{prepared}: its test split has images 0 to {len(clean) - 1}, found a wish for image {image}")
    names, severities = store.corruptions(corrupted)
    rows = {
        name: np.stack([store.read_corrupted(corrupted, name, severity).images[image].numpy() for severity in severities])
        for name in names
    }
    with style.context():
        return style.save(figure(clean.images[image].numpy(), rows, severities, clean.name), pdf, png)


def figure(clean: np.ndarray, corrupted: Mapping[str, np.ndarray], severities: list[int], name: str) -> "Figure":
    """The sheet.

    Args:
        clean: the image, (C, H, W) in [0, 1].
        corrupted: corruption -> (severities, C, H, W).
        severities: in the order of the arrays' first axis.
        name: of the data set.
    """
    blocks = _blocks(list(corrupted))
    height = max(sum(len(names) + _HEADING for _, names in block) - _HEADING for block in blocks) * (1 + _GAP)
    width = _LABEL + (1 + len(severities)) * (1 + _GAP)
    inches = style.PAGE / 2 / width
    drawing = style.new(inches * width * len(blocks), inches * (height + _TOP) + 0.06)
    for axes, block in zip(np.atleast_1d(drawing.subplots(1, len(blocks))), blocks, strict=True):
        _draw_block(axes, block, clean, corrupted, severities)
        axes.set_xlim(-_LABEL, (1 + len(severities)) * (1 + _GAP))
        axes.set_ylim(height, -_TOP)
        axes.set_aspect("equal")
        axes.set_axis_off()
    drawn = "; frost is a drawn texture in place of the published photographs" if "procedural_frost" in corrupted else ""
    shown = ", ".join(map(str, severities))
    caption = (
        f"One test image of {name}, as it is and under each corruption at severities {shown}, with the parameters of CIFAR-10-C "
        f"(Hendrycks and Dietterich 2019){drawn}. Every cell draws its own random numbers."
    )
    style.finish(drawing, f"{len(corrupted)} corruptions of {name}", caption)
    return drawing


def _blocks(names: list[str]) -> list[list[tuple[str, list[str]]]]:
    """Families side by side in two blocks of like length, in one where there are few."""
    families = [(family, [name for name in names if name in known]) for family, known in FAMILIES.items()]
    families = [(family, members) for family, members in families if members]
    if others := [name for name in names if not any(name in known for known in FAMILIES.values())]:
        families.append(("others", others))
    if len(names) <= 8:
        return [families]
    split = min(
        range(1, max(2, len(families))),
        key=lambda i: abs(sum(len(members) for _, members in families[:i]) - len(names) / 2),
    )
    return [block for block in (families[:split], families[split:]) if block]


def _draw_block(axes: "Axes", block: list, clean: np.ndarray, corrupted: Mapping[str, np.ndarray], severities: list[int]) -> None:
    step = 1 + _GAP
    for column, title in enumerate(["original", *map(str, severities)]):
        axes.text(column * step + 0.5, -0.08, title, ha="center", va="bottom", fontsize=style.SMALL)
    top = 0.0
    for index, (family, names) in enumerate(block):
        if index:
            top += _HEADING * step
        for row, name in enumerate(names):
            for column, picture in enumerate([clean, *corrupted[name]]):
                left = column * step
                axes.imshow(
                    picture.transpose(1, 2, 0).squeeze(),
                    cmap="gray",
                    vmin=0,
                    vmax=1,
                    extent=(left, left + 1, top + 1, top),
                    interpolation="nearest",
                )
            axes.text(-0.12, top + 0.5, name.replace("_", " "), ha="right", va="center", fontsize=style.SMALL)
            if not row:
                axes.text(-_LABEL, top - 0.08, family, ha="left", va="bottom", fontsize=style.MEDIUM, fontweight="bold")
            top += step
