"""Prepared data on disk: one safetensors file per data set, the same bytes for the same data, read by memory map.

Pixels are stored as bytes where that loses nothing (value = byte / 255), else as float32. The file is written here rather
than by the safetensors package, so that it can be streamed (a corrupted test set is larger than memory) and so that the
order of the header is fixed; the package reads it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geed import files
from geed.data.imageset import ImageSet
from geed.errors import GeedError, nearest

_TYPES = {"U8": np.dtype("u1"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4")}
_CHUNK = 4096  # images that are converted at a time

# Name -> (safetensors type, shape, function that gives the values in chunks along the first axis).
Arrays = dict[str, tuple[str, tuple[int, ...], Callable[[], Iterable[np.ndarray]]]]


def write(path: str | Path, splits: Mapping[str, ImageSet]) -> None:
    """Write the splits of one data set.

    Raises:
        GeedError: values outside [0, 1] or not finite, or an unwritable path.
    """
    arrays: Arrays = {}
    for split, images in splits.items():
        _check_values(f"{images.name}/{split}", images.images)
        exact = all(torch.equal(_bytes(chunk).float() / 255, chunk) for chunk in images.images.split(_CHUNK))
        if exact:
            arrays[f"{split}.images"] = (
                "U8",
                tuple(images.images.shape),
                lambda x=images.images: map(_numpy_bytes, x.split(_CHUNK)),
            )
        else:
            arrays[f"{split}.images"] = (
                "F32",
                tuple(images.images.shape),
                lambda x=images.images: (c.numpy() for c in x.split(_CHUNK)),
            )
        for key, values in (("labels", images.labels), ("ids", images.ids)):
            arrays[f"{split}.{key}"] = ("I64", tuple(values.shape), lambda x=values: [x.numpy()])
    first = next(iter(splits.values()))
    _write(path, arrays, {"name": first.name, "classes": list(first.classes), "splits": list(splits)})


def read(path: str | Path, split: str) -> ImageSet:
    """Read one split of a prepared data set.

    Raises:
        GeedError: the file is absent or damaged, or has no such split.
    """
    with _Reader(path) as reader:
        if split not in reader.about.get("splits", ()):
            raise GeedError(f"{path}: no split '{split}'{nearest(split, reader.about.get('splits', ()))}")
        return reader.imageset(f"{split}.images", f"{split}.labels", f"{split}.ids", split)


def splits(path: str | Path) -> list[str]:
    """The splits of a prepared data set.

    Raises:
        GeedError: the file is absent or damaged.
    """
    with _Reader(path) as reader:
        return list(reader.about.get("splits", ()))


def write_corrupted(
    path: str | Path,
    clean: ImageSet,
    corrupted: Callable[[str, int], torch.Tensor],
    names: Iterable[str],
    severities: Iterable[int],
) -> None:
    """Write corrupted versions of one split, as bytes (like the official CIFAR-10-C), one array per corruption and severity.

    Args:
        path: the output.
        clean: the images before corruption, for labels, ids and shape.
        corrupted: (corruption, severity) -> images (N, C, H, W) in [0, 1]; called once per pair while writing, so that one
            pair at a time is in memory.
        names: corruptions.
        severities: integers.
    """
    names, severities = list(names), list(severities)
    arrays: Arrays = {
        "labels": ("I64", tuple(clean.labels.shape), lambda: [clean.labels.numpy()]),
        "ids": ("I64", tuple(clean.ids.shape), lambda: [clean.ids.numpy()]),
    }
    for name in names:
        for severity in severities:
            arrays[f"{name}.{severity}"] = (
                "U8",
                tuple(clean.images.shape),
                lambda name=name, severity=severity: map(_numpy_bytes, corrupted(name, severity).split(_CHUNK)),
            )
    about = {
        "name": clean.name,
        "classes": list(clean.classes),
        "split": clean.split,
        "corruptions": names,
        "severities": severities,
    }
    _write(path, arrays, about)


def read_corrupted(path: str | Path, corruption: str, severity: int) -> ImageSet:
    """Read one corruption at one severity.

    Raises:
        GeedError: the file is absent or damaged, or does not hold this corruption or severity.
    """
    with _Reader(path) as reader:
        known = reader.about.get("corruptions", [])
        if corruption not in known:
            raise GeedError(f"{path}: no corruption '{corruption}'{nearest(corruption, known)}")
        if severity not in reader.about["severities"]:
            raise GeedError(f"{path}: no severity {severity}; known: {', '.join(map(str, reader.about['severities']))}")
        return reader.imageset(f"{corruption}.{severity}", "labels", "ids", reader.about["split"])


def corruptions(path: str | Path) -> tuple[list[str], list[int]]:
    """The corruptions and severities that a corrupted set holds.

    Raises:
        GeedError: the file is absent or damaged, or holds clean images.
    """
    with _Reader(path) as reader:
        if "corruptions" not in reader.about:
            raise GeedError(f"{path}: expected corrupted images, found clean ones")
        return reader.about["corruptions"], reader.about["severities"]


def write_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write float32 tensors by name, with the same bytes for the same tensors in the same order."""
    _write(
        path, {name: ("F32", tuple(tensor.shape), lambda x=tensor: [x.numpy()]) for name, tensor in tensors.items()}, dict(about)
    )


def _bytes(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round_().to(torch.uint8)


def _numpy_bytes(images: torch.Tensor) -> np.ndarray:
    return _bytes(images).numpy()


def _check_values(where: str, images: torch.Tensor) -> None:
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise GeedError(f"{where}: expected pixel values in [0, 1], found {low} to {high}")


def _write(path: str | Path, arrays: Arrays, about: dict[str, Any]) -> None:
    """Stream arrays into a safetensors file (8-byte length, JSON header, data), in the given order."""
    header: dict[str, Any] = {"__metadata__": {"geed": json.dumps(about, sort_keys=True)}}
    end = 0
    # Wide types first, so that every array is aligned.
    ordered = sorted(arrays, key=lambda name: -_TYPES[arrays[name][0]].itemsize)
    for name in ordered:
        kind, shape, _ = arrays[name]
        start, end = end, end + int(np.prod(shape)) * _TYPES[kind].itemsize
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with files.atomic(path) as temporary, open(temporary, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in ordered:
            kind, _, chunks = arrays[name]
            for chunk in chunks():
                stream.write(np.ascontiguousarray(chunk, dtype=_TYPES[kind]).data)
            if stream.tell() != 8 + len(text) + header[name]["data_offsets"][1]:
                raise ValueError(f"{name}: the chunks do not fill the declared shape {arrays[name][1]}")


class _Reader:
    """A prepared file, opened; anything wrong with it is a GeedError."""

    def __init__(self, path: str | Path) -> None:
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            raise GeedError(f"{path}: no such file; prepare the data set first")
        self._path = path
        try:
            self._file = safe_open(path, framework="pt")
            self.about: dict[str, Any] = json.loads((self._file.metadata() or {})["geed"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise self._damaged(error) from error
        kinds = {"name": str, "classes": list} | (
            {"split": str, "corruptions": list, "severities": list} if "corruptions" in self.about else {"splits": list}
        )
        for key, kind in kinds.items():
            if not isinstance(self.about, dict) or not isinstance(self.about.get(key), kind):
                raise self._damaged(f"its description has no '{key}'")

    def _damaged(self, how: object) -> GeedError:
        return GeedError(f"{self._path}: expected a prepared data set (safetensors), found something damaged or else: {how}")

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *exception: object) -> None:
        del self._file

    def imageset(self, images: str, labels: str, ids: str, split: str) -> ImageSet:
        from safetensors import SafetensorError

        try:
            pixels, numbers, positions = (self._file.get_tensor(name) for name in (images, labels, ids))
        except SafetensorError as error:
            raise self._damaged(error) from error
        stored_as_bytes = pixels.dtype == torch.uint8
        pixels = pixels.to(torch.float32).div_(255) if stored_as_bytes else pixels
        try:
            found = ImageSet(pixels, numbers, positions, tuple(self.about["classes"]), self.about["name"], split)
            if not stored_as_bytes:
                _check_values(images, pixels)
        except GeedError as error:
            raise GeedError(f"{self._path}: {error}") from error
        return found
