"""File formats: each reader takes the files of a data set and gives its labels at once and its pixels on request.

Pixels are decoded for chosen images only, so a small part of a large folder costs little.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Raw:
    """One published part of a data set, before any selection.

    Attributes:
        labels: integers (N,).
        ids: positions in the published order, (N,).
        classes: class names, by label.
        pixels: indices (n,) -> (n, C, H, W), uint8, or float32 in [0, 1] where bytes would round.
    """

    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]
    pixels: Callable[[np.ndarray], np.ndarray]


def _in_memory(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], ids: np.ndarray | None = None) -> Raw:
    return Raw(labels, np.arange(len(labels)) if ids is None else ids, classes, lambda indices: images[indices])


def digits(paths: list[Path], part: str, size: int | None) -> Raw:
    """scikit-learn's digits: 64 pixel counts from 0 to 16 and a label per line."""
    with gzip.open(paths[0], "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.float32)
    return _in_memory(table[:, :64].reshape(-1, 1, 8, 8) / 16, table[:, 64].astype(np.int64), tuple("0123456789"))


def photo_patches(paths: list[Path], part: str, size: int | None) -> Raw:
    """Photographs cut into disjoint 32x32 patches, left to right and top to bottom; the rest at the edges is dropped."""
    patches, labels = [], []
    for label, path in enumerate(paths):
        photo = _rgb(path)
        rows, columns = photo.shape[0] // 32, photo.shape[1] // 32
        grid = photo[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3)
        patches.append(grid.reshape(-1, 3, 32, 32))
        labels += [label] * (rows * columns)
    return _in_memory(np.concatenate(patches), np.array(labels), tuple(path.stem for path in paths))


def _rgb(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
