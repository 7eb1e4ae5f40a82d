"""Which data sets there are, and how one split of one becomes an `ImageSet`.

The registry holds names, shapes, sources and checksums only: it imports nothing heavy, so a study can be planned with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geed import seeds
from geed.errors import GeedError, nearest

if TYPE_CHECKING:
    import numpy as np
    import torch

    from geed.data.imageset import ImageSet

DIGITS = tuple("0123456789")

# Split -> (published part, from, to): a range of that part in stratified order. A test part is used whole.
_PUBLISHED = {"train": ("train", 0.0, 0.9), "validation": ("train", 0.9, 1.0), "test": ("test", 0.0, 1.0)}


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set.

    Attributes:
        path: where it lies in a mirror; ``package:`` in front means inside an installed package.
        sha256: the expected checksum.
        urls: canonical addresses, tried in order.
    """

    path: str
    sha256: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before any of it is read.

    Attributes:
        name: its name in configs.
        title: one line for people.
        reader: the function of `geed.data.readers` that decodes it.
        classes: class names, by label; empty where a folder on disk decides.
        shape: (C, H, W); None where the images differ.
        mean: of the training pixels, per channel.
        std: of the training pixels, per channel.
        source: the canonical source, in words or as an address.
        licence: what is known of the terms of use.
        files: its files, with checksums.
        splits: split name -> (published part, from, to), a range of that part in stratified order.
    """

    name: str
    title: str
    reader: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    licence: str
    files: tuple[SourceFile, ...] = ()
    splits: Mapping[str, tuple[str, float, float]] = field(default_factory=lambda: dict(_PUBLISHED))

    @property
    def sha256(self) -> dict[str, str]:
        """File -> expected SHA-256."""
        return {file.path: file.sha256 for file in self.files}


_ALL = [
    DatasetInfo(
        name="digits",
        title="handwritten digits that ship inside scikit-learn",
        reader="digits",
        classes=DIGITS,
        shape=(1, 8, 8),
        mean=(0.3053,),
        std=(0.3760,),
        source="scikit-learn (load_digits); UCI, Optical Recognition of Handwritten Digits, test part",
        licence="CC BY 4.0 (UCI)",
        files=(
            SourceFile(
                "package:sklearn/datasets/data/digits.csv.gz",
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
            ),
        ),
        splits={"train": ("all", 0.0, 0.6), "validation": ("all", 0.6, 0.7), "test": ("all", 0.7, 1.0)},
    ),
    DatasetInfo(
        name="photo_patches",
        title="520 disjoint 32x32 patches of the two photographs that ship inside scikit-learn",
        reader="photo_patches",
        classes=("china", "flower"),
        shape=(3, 32, 32),
        mean=(0.392, 0.429, 0.388),
        std=(0.373, 0.300, 0.326),
        source="scikit-learn (load_sample_images)",
        licence="CC BY 2.0 (china.jpg by Richie Diesterheft; flower.jpg by Vultee)",
        files=(
            SourceFile(
                "package:sklearn/datasets/images/china.jpg",
                "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
            ),
            SourceFile(
                "package:sklearn/datasets/images/flower.jpg",
                "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
            ),
        ),
        splits={"test": ("all", 0.0, 1.0)},
    ),
]

DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _ALL}


def info(source: str) -> DatasetInfo:
    """The registry's entry for a name.

    Raises:
        GeedError: unknown name.
    """
    if source not in DATASETS:
        raise GeedError(f"unknown data set '{source}'{nearest(source, DATASETS)}")
    return DATASETS[source]


def load(
    source: str,
    split: str,
    *,
    mirror: str | Path | None = None,
    cache: str | Path | None = None,
    classes: Sequence[int] | None = None,
    size: int | None = None,
    channels: int | None = None,
    limit: int | None = None,
) -> ImageSet:
    """One split of a data set.

    Splits come from fixed stratified orders, keyed by the data set's name: they depend on neither seed nor machine, and
    a split of some `classes` is a part of that split of all classes.

    Args:
        source: a name in `DATASETS`.
        split: one of its splits.
        mirror: a folder or URL that holds the files, tried before the canonical source.
        cache: where downloads are kept (default: ``$GEED_CACHE``, else ``~/.cache/geed``).
        classes: labels to keep, relabelled 0, 1, … in the given order.
        size: side of the square output in pixels. Enlarging is bilinear with aligned corners, which commutes with quarter
            turns and reflections; reducing is bilinear with anti-aliasing. Folders of photographs are cropped, see `readers`.
        channels: 1 (luma, ITU-R BT.601) or 3 (grey repeated).
        limit: keep this many images: stratified, keyed by name, and nested (a smaller limit is a part of a larger one).

    Raises:
        GeedError: unknown name, split or label; missing or damaged files; an impossible size.
    """
    import numpy as np
    import torch

    from geed.data import mirror as mirrors
    from geed.data import readers
    from geed.data.imageset import ImageSet

    entry = info(source)
    if split not in entry.splits:
        raise GeedError(f"{source}: unknown split '{split}'{nearest(split, entry.splits)}")
    part, start, stop = entry.splits[split]
    paths = [mirrors.obtain(file, mirror, cache) for file in entry.files]
    raw = getattr(readers, entry.reader)(paths, part, size)

    order = stratified_order(raw.labels, source, part)
    chosen = np.sort(order[round(start * len(order)) : round(stop * len(order))])
    names, labels = raw.classes, raw.labels
    if classes is not None:
        chosen, labels, names = _restrict(source, chosen, labels, names, classes)
    if limit is not None:
        if not 0 < limit <= len(chosen):
            raise GeedError(f"{source}/{split}: limit must lie between 1 and the {len(chosen)} images there are, found {limit}")
        chosen = np.sort(chosen[stratified_order(labels[chosen], source, split, "limit")[:limit]])

    images = _resized(_with_channels(_unit(torch.from_numpy(raw.pixels(chosen))), channels), size)
    return ImageSet(
        images,
        torch.from_numpy(labels[chosen].astype(np.int64)),
        torch.from_numpy(raw.ids[chosen].astype(np.int64)),
        names,
        source,
        split,
    )


def stratified_order(labels: np.ndarray, *names: object) -> np.ndarray:
    """A fixed random order of all indices in which every prefix holds the classes in nearly their overall proportions.

    Args:
        labels: integers, (N,).
        names: what keys the order.
    """
    import numpy as np

    shuffled = seeds.rng("data", *names).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    quantile = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return by_class[np.argsort(quantile, kind="stable")]


def _restrict(source, chosen, labels, names, classes):
    import numpy as np

    unknown = [label for label in classes if label not in range(len(names))]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise GeedError(f"{source}: classes must be distinct labels from 0 to {len(names) - 1}, found {list(classes)}")
    relabel = np.full(len(names), -1)
    relabel[list(classes)] = np.arange(len(classes))
    labels = relabel[labels]
    return chosen[labels[chosen] >= 0], labels, tuple(names[label] for label in classes)


def _unit(pixels: torch.Tensor) -> torch.Tensor:
    import torch

    return pixels.to(torch.float32).div_(255) if pixels.dtype == torch.uint8 else pixels


def _with_channels(images: torch.Tensor, channels: int | None) -> torch.Tensor:
    if channels in (None, images.shape[1]):
        return images
    if channels == 3:
        return images.repeat(1, 3, 1, 1)
    if channels == 1:
        red, green, blue = images.unbind(1)
        return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    raise GeedError(f"channels must be 1 or 3, found {channels}")


def _resized(images: torch.Tensor, size: int | None) -> torch.Tensor:
    from torch.nn.functional import interpolate

    side = max(images.shape[-2:])
    if size in (None, side):
        return images
    if not 8 <= size <= 1024:
        raise GeedError(f"size must lie between 8 and 1024 pixels, found {size}")
    if size > side:
        return interpolate(images, size=(size, size), mode="bilinear", align_corners=True)
    return interpolate(images, size=(size, size), mode="bilinear", antialias=True).clamp_(0, 1)
