"""How one split of a registered data set becomes an `ImageSet`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from geed import seeds
from geed.data import mirror as mirrors
from geed.data import readers
from geed.data.imageset import ImageSet
from geed.data.readers import Raw
from geed.data.registry import DatasetInfo, Origin, info
from geed.errors import GeedError, nearest


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
    sizes: Mapping[str, int] | None = None,
) -> ImageSet:
    """One split of a data set.

    Splits come from fixed stratified orders, keyed by the data set's name: they depend on neither seed nor machine, and
    a split of some `classes` is a part of that split of all classes.

    With `sizes`, all published images (of the `classes`) are pooled instead, and splits of these sizes are drawn from one such
    order: disjoint, stratified, and the first of them the same whatever the others are. An image's id is then its position
    among all of the source's parts, one after another.

    Args:
        source: a name in `registry.DATASETS`, or ``NAME:PLACE``.
        split: one of its splits.
        mirror: a folder or URL that holds the files, tried before the canonical source; None takes GEED_DATA_MIRROR.
        cache: where downloads are kept (default: ``$GEED_CACHE``, else ``~/.cache/geed``).
        classes: labels to keep, relabelled 0, 1, … in the given order.
        size: side of the square output in pixels. Enlarging is bilinear with aligned corners, which commutes with quarter
            turns and reflections; reducing is bilinear with anti-aliasing. Photographs of differing shapes are cropped to the
            middle, see `readers.photograph`.
        channels: 1 (luma, ITU-R BT.601) or 3 (grey repeated).
        limit: keep at most this many images: stratified, keyed by name, and nested (a smaller limit is a part of a larger).
        sizes: split -> number of images, in the order in which they are drawn; replaces the registered splits.

    Raises:
        GeedError: unknown name, split or label; missing or damaged files; an impossible size; more images asked for than the
            source has.
    """
    entry = info(source)
    splits = sizes or entry.splits
    if split not in splits:
        raise GeedError(f"{source}: unknown split '{split}'{nearest(split, splits)}")
    if size is not None and not 8 <= size <= 1024:
        raise GeedError(f"{source}: size must lie between 8 and 1024 pixels, found {size}")
    if limit is not None and limit < 1:
        raise GeedError(f"{source}: limit must be at least 1, found {limit}")
    if sizes:
        raw = readers.pooled(
            [_read(entry, part, size, mirror, cache) for part in dict.fromkeys(p for p, *_ in entry.splits.values())]
        )
        chosen = np.arange(len(raw.labels))
    else:
        part, start, stop = entry.splits[split]
        raw = _read(entry, part, size, mirror, cache)
        order = stratified_order(raw.labels, entry.name, part)
        chosen = np.sort(order[round(start * len(order)) : round(stop * len(order))])
    names, labels = raw.classes, raw.labels
    if classes is not None:
        chosen, labels, names = _restrict(source, chosen, labels, names, classes)
    if sizes:
        chosen = _drawn(source, split, sizes, chosen, labels, entry.name)
    if limit is not None:
        chosen = np.sort(chosen[stratified_order(labels[chosen], entry.name, split, "limit")[:limit]])
    if not len(chosen):
        raise GeedError(f"{source}/{split}: no images are left (of {len(raw.labels)} before the choice of split and classes)")

    images = _resized(_with_channels(_unit(torch.from_numpy(raw.pixels(chosen))), channels), size)
    labels, ids = (torch.from_numpy(values[chosen].astype(np.int64)) for values in (labels, raw.ids))
    return ImageSet(images, labels, ids, names, entry.name, split)


def locate(source: str, mirror: str | Path | None = None, cache: str | Path | None = None) -> list[Path]:
    """Where a data set's files lie on this machine, checked; downloaded where need be.

    Raises:
        GeedError: unknown name, or files that cannot be had.
    """
    entry = info(source)
    place = _place(entry, mirrors.resolve(mirror))
    return _origin(entry, mirror, cache)[1] if place is None else [place]


def checksums(source: str, mirror: str | Path | None = None, cache: str | Path | None = None) -> dict[str, str]:
    """What a data set was read from: file -> SHA-256; for a folder on the user's disk that of its list of names and sizes."""
    entry = info(source)
    if (place := _place(entry, mirrors.resolve(mirror))) is not None:
        return {"names and sizes": readers.listing(place)}
    return {file.path: file.sha256 for file in _origin(entry, mirror, cache)[0].files}


def _read(entry: DatasetInfo, part: str, size: int | None, mirror: Any, cache: Any) -> Raw:
    if (place := _place(entry, mirrors.resolve(mirror))) is not None:
        return getattr(readers, entry.folder_reader)([place], part, size)
    origin, paths = _origin(entry, mirror, cache)
    return getattr(readers, origin.reader)(paths, part, size)


def _origin(entry: DatasetInfo, mirror: Any, cache: Any) -> tuple[Origin, list[Path]]:
    """The first origin all of whose files can be had, and where they lie."""
    problems = []
    for origin in entry.origins:
        try:
            return origin, [mirrors.obtain(file, mirror, cache) for file in origin.files]
        except GeedError as error:
            problems.append(str(error))
    raise GeedError(f"data set '{entry.name}' (source: {entry.source}): {'; or else '.join(problems)}")


def _place(entry: DatasetInfo, mirror: str | None) -> Path | None:
    """The folder on the user's disk, for sets that are one; None for those that have files with checksums."""
    if entry.place is not None:
        if not Path(entry.place).expanduser().is_dir():
            raise GeedError(f"data set '{entry.name}:{entry.place}': expected a folder, found none")
        return Path(entry.place).expanduser()
    if entry.folder and mirror and (Path(mirror) / entry.folder).is_dir():
        return Path(mirror) / entry.folder
    if not entry.origins:
        where = f"{entry.folder}/ in the data mirror, or " if entry.folder else ""
        raise GeedError(f"data set '{entry.name}' (source: {entry.source}) is a folder: expected {where}{entry.name}:PLACE")
    return None


def stratified_order(labels: np.ndarray, *names: object) -> np.ndarray:
    """A fixed random order of all indices in which every prefix holds the classes in nearly their overall proportions.

    Args:
        labels: integers, (N,).
        names: what keys the order.
    """
    shuffled = seeds.rng("data", *names).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    quantile = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return by_class[np.argsort(quantile, kind="stable")]


def _restrict(
    source: str, chosen: np.ndarray, labels: np.ndarray, names: tuple[str, ...], classes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    unknown = [label for label in classes if label not in range(len(names))]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise GeedError(f"{source}: classes must be distinct labels from 0 to {len(names) - 1}, found {list(classes)}")
    relabel = np.full(len(names), -1)
    relabel[list(classes)] = np.arange(len(classes))
    labels = relabel[labels]
    return chosen[labels[chosen] >= 0], labels, tuple(names[label] for label in classes)


def _drawn(source: str, split: str, sizes: Mapping[str, int], chosen: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    """The images of one of several disjoint splits of the given sizes."""
    if sum(sizes.values()) > len(chosen):
        wanted = " + ".join(f"{count} ({key})" for key, count in sizes.items())
        raise GeedError(f"{source}: expected splits of at most {len(chosen)} images in all, found {wanted}")
    start = sum(list(sizes.values())[: list(sizes).index(split)])
    order = stratified_order(labels[chosen], name, "pooled")
    return np.sort(chosen[order[start : start + sizes[split]]])


def _unit(pixels: torch.Tensor) -> torch.Tensor:
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
    side = max(images.shape[-2:])
    if size in (None, side):
        return images
    if size > side:
        resized = interpolate(images, size=(size, size), mode="bilinear", align_corners=True)
    else:
        resized = interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return resized.clamp_(0, 1)  # weights that are rounded may sum to more than 1
