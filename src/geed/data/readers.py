"""File formats: each reader takes the files of a data set and gives its labels at once and its pixels on request.

Pixels are decoded for chosen images only, so a small part of a large folder costs little. Nothing is unpickled but CIFAR-10's
own files, by an unpickler that knows numpy arrays and nothing else; torchvision's readers unpickle anything.
"""

import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from geed.data.registry import DATASETS
from geed.errors import GeedError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".tif", ".tiff")


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


def pooled(parts: list[Raw]) -> Raw:
    """All parts of a data set as one; ids count on from part to part."""
    ends = np.cumsum([len(part.labels) for part in parts])

    def pixels(indices: np.ndarray) -> np.ndarray:
        owner = np.searchsorted(ends, indices, side="right")
        starts = np.concatenate([[0], ends[:-1]])
        taken = [parts[k].pixels(indices[owner == k] - starts[k]) for k in range(len(parts))]
        result = np.empty((len(indices), *taken[0].shape[1:]), taken[0].dtype)
        for k, values in enumerate(taken):
            result[owner == k] = values
        return result

    labels = np.concatenate([part.labels for part in parts])
    return Raw(labels, np.arange(len(labels)), parts[0].classes, pixels)


def digits(paths: list[Path], part: str, size: int | None) -> Raw:
    """scikit-learn's digits: 64 pixel counts from 0 to 16 and a label per line."""
    with gzip.open(paths[0], "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.float32)
    return _in_memory(table[:, :64].reshape(-1, 1, 8, 8) / 16, table[:, 64].astype(np.int64), _classes("digits"))


def photo_patches(paths: list[Path], part: str, size: int | None) -> Raw:
    """Photographs cut into disjoint 32x32 patches, left to right and top to bottom; the rest at the edges is dropped."""
    patches, labels = [], []
    for label, path in enumerate(paths):
        photo = _rgb(path)
        rows, columns = photo.shape[0] // 32, photo.shape[1] // 32
        grid = photo[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3)
        patches.append(grid.reshape(-1, 3, 32, 32))
        labels += [label] * (rows * columns)
    return _in_memory(np.concatenate(patches), np.array(labels), _classes("photo_patches"))


def mnist(paths: list[Path], part: str, size: int | None) -> Raw:
    """The four files of MNIST: training images and labels, test images and labels."""
    images, labels = (_idx(path) for path in (paths[:2] if part == "train" else paths[2:]))
    return _in_memory(images[:, None], labels, _classes("mnist"))


def emnist_letters(paths: list[Path], part: str, size: int | None) -> Raw:
    """EMNIST's letters: stored transposed, labels from 1."""
    images, labels = (_idx(path) for path in paths)
    return _in_memory(images[:, None].transpose(0, 1, 3, 2), labels - 1, _classes("emnist_letters"))


def emnist_letters_zip(paths: list[Path], part: str, size: int | None) -> Raw:
    """The same out of the archive that NIST publishes."""
    with zipfile.ZipFile(paths[0]) as archive:
        names = [f"gzip/emnist-letters-test-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
        images, labels = (_idx(paths[0], archive.open(name)) for name in names)
    return _in_memory(images[:, None].transpose(0, 1, 3, 2), labels - 1, _classes("emnist_letters"))


def fashion_sprite(paths: list[Path], part: str, size: int | None) -> Raw:
    """A picture of 30x30 tiles of 28x28 pixels, three rows of tiles per class."""
    from PIL import Image

    with Image.open(paths[0]) as image:
        sheet = np.asarray(image.convert("RGB"))[..., 0]
    tiles = sheet.reshape(30, 28, 30, 28).transpose(0, 2, 1, 3).reshape(900, 1, 28, 28)
    return _in_memory(tiles, np.repeat(np.arange(10), 90), _classes("fashion_mnist"))


def cifar10(paths: list[Path], part: str, size: int | None) -> Raw:
    """The python version of CIFAR-10: pickled batches in a compressed archive."""
    names = [f"data_batch_{batch}" for batch in range(1, 6)] if part == "train" else ["test_batch"]
    found: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(paths[0], "r|gz") as archive:
            for member in archive:
                name = member.name.removeprefix("cifar-10-batches-py/")
                if name in names:
                    found[name] = _NumpyUnpickler(archive.extractfile(member), encoding="latin1").load()
        images = np.concatenate([np.asarray(found[name]["data"], dtype=np.uint8) for name in names])
        labels = np.concatenate([np.asarray(found[name]["labels"], dtype=np.int64) for name in names])
    except Exception as error:  # a damaged pickle raises whatever its operations happen to raise
        raise GeedError(f"{paths[0]}: expected CIFAR-10's pickled batches {', '.join(names)} ({error})") from error
    return _in_memory(images.reshape(-1, 3, 32, 32), labels, _classes("cifar10"))


def cifar10_subset(paths: list[Path], part: str, size: int | None) -> Raw:
    """Images of CIFAR-10 with their positions in its order, as NumPy arrays."""
    with np.load(paths[0], allow_pickle=False) as arrays:
        images, labels, ids = (arrays[f"{part}_{key}"] for key in ("x", "y", "index"))
    return _in_memory(images.transpose(0, 3, 1, 2), labels, _classes("cifar10"), ids)


def cifar10_subset_of_full(paths: list[Path], part: str, size: int | None) -> Raw:
    """The same images out of the full CIFAR-10."""
    full = cifar10(paths, part, size)
    batches = [np.arange(4000), *(np.arange(1017) + 10_000 * batch for batch in range(1, 5))]
    ids = np.concatenate(batches) if part == "train" else np.arange(1017)
    return Raw(full.labels[ids], ids, full.classes, lambda indices: full.pixels(ids[indices]))


def cifar10_jpeg(paths: list[Path], part: str, size: int | None) -> Raw:
    """JPEG streams end to end, without their common header."""
    with np.load(paths[0], allow_pickle=False) as arrays:
        header, payload, offsets = (arrays[key] for key in ("header", f"{part}_payload", f"{part}_offsets"))
        labels = arrays[f"{part}_labels"]

    def pixels(indices: np.ndarray) -> np.ndarray:
        streams = (header.tobytes() + payload[offsets[i] : offsets[i + 1]].tobytes() for i in indices)
        return np.stack([_rgb(io.BytesIO(stream)) for stream in streams]).transpose(0, 3, 1, 2)

    return Raw(labels, np.arange(len(labels)), _classes("cifar10_jpeg75"), pixels)


def cifar10_c_tar(paths: list[Path], part: str, size: int | None) -> Raw:
    """One corruption at one severity, out of the published archive."""
    with tarfile.open(paths[0], "r:") as archive:
        return _cifar10_c(paths[0], lambda name: io.BytesIO(archive.extractfile(f"CIFAR-10-C/{name}.npy").read()), part)


def cifar10_c_folder(paths: list[Path], part: str, size: int | None) -> Raw:
    """One corruption at one severity, out of the extracted archive: a folder of .npy files."""
    return _cifar10_c(paths[0], lambda name: open(paths[0] / f"{name}.npy", "rb"), part)


def _cifar10_c(where: Path, open_array: Callable[[str], BinaryIO], part: str) -> Raw:
    """Five severities of the 10,000 test images end to end, and their labels."""
    name, _, severity = part.partition(".")
    rows = slice(10_000 * (int(severity) - 1), 10_000 * int(severity))
    try:
        arrays = []
        for key in (name, "labels"):
            with open_array(key) as stream:
                arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
        images, labels = arrays
        if images.shape != (50_000, 32, 32, 3) or images.dtype != np.uint8 or labels.shape != (50_000,):
            raise ValueError(f"shapes {images.shape} and {labels.shape}")
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise GeedError(
            f"{where}: expected {name}.npy (50000, 32, 32, 3) of bytes and labels.npy (50000,), as published ({error})"
        ) from error
    return _in_memory(images[rows].transpose(0, 3, 1, 2), labels[rows].astype(np.int64), _classes("cifar10_c"))


def svhn(paths: list[Path], part: str, size: int | None) -> Raw:
    """MATLAB files: images (H, W, C, N), the digit 0 labelled 10."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = paths[0 if part == "train" else 1]
    try:
        content = loadmat(path, variable_names=["X", "y"])
        images, labels = content["X"].transpose(3, 2, 0, 1), content["y"].ravel().astype(np.int64) % 10
    except (MatReadError, OSError, KeyError, ValueError, TypeError, zlib.error) as error:
        raise GeedError(f"{path}: expected SVHN's arrays X and y in MATLAB format ({error})") from error
    return _in_memory(images, labels, _classes("svhn"))


def imagenet_samples(paths: list[Path], part: str, size: int | None) -> Raw:
    """One photograph per ImageNet class, and an index of them."""
    import csv

    with open(paths[0] / "index.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    images = [paths[0] / f"{row['wnid']}_{row['name']}.jpg" for row in rows]
    labels = np.array([int(row["class_index"]) for row in rows])
    return Raw(labels, np.arange(len(rows)), tuple(row["name"] for row in rows), _photographs(images, size))


def image_folder(paths: list[Path], part: str, size: int | None) -> Raw:
    """A folder (for a part other than "all", its subfolder of that name) with one subfolder of images per class."""
    root = paths[0] if part == "all" else paths[0] / part
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    images, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(file for file in (root / name).rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        images += found
        labels += [label] * len(found)
    if not images:
        raise GeedError(f"{root}: expected one folder of images ({', '.join(IMAGE_SUFFIXES)}) per class, found none")
    return Raw(np.array(labels), np.arange(len(labels)), tuple(classes), _photographs(images, size))


def photograph(path: Path, size: int) -> np.ndarray:
    """A photograph as (3, size, size) bytes, the usual way: shorter side to 256/224 of `size`, then its middle (bilinear).

    Raises:
        GeedError: not an image, or a damaged one.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise GeedError(f"{path}: expected an image, found something unreadable ({error})") from error
    scale = size * 256 / 224 / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def listing(folder: Path) -> str:
    """The SHA-256 of a folder's file names and sizes: what can be said of a large folder without reading all of it."""
    entries = sorted((str(file.relative_to(folder)), file.stat().st_size) for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256("".join(f"{size}  {name}\n" for name, size in entries).encode()).hexdigest()


class _NumpyUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays of numbers, lists, dicts and text; anything else is refused before it is called."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"refused to unpickle {module}.{name}")
        return allowed[module, name]


def _in_memory(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], ids: np.ndarray | None = None) -> Raw:
    if len(images) != len(labels):
        raise GeedError(f"expected as many labels as images, found {len(labels)} and {len(images)}")
    positions = np.arange(len(labels)) if ids is None else ids
    return Raw(
        labels.astype(np.int64), positions.astype(np.int64), classes, lambda indices: np.ascontiguousarray(images[indices])
    )


def _classes(name: str) -> tuple[str, ...]:
    return DATASETS[name].classes


def _idx(path: Path, stream: BinaryIO | None = None) -> np.ndarray:
    """A gzipped IDX file of bytes: two zeros, type 8, number of dimensions, the dimensions (big-endian), the values."""
    try:
        with gzip.open(stream or path) as unpacked:
            content = unpacked.read()
        if content[:3] != b"\0\0\x08":
            raise ValueError(f"it begins with {content[:4]!r}")
        shape = np.frombuffer(content, ">i4", content[3], 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise GeedError(f"{path}: expected a gzipped IDX file of bytes ({error})") from error


def _rgb(file: Path | BinaryIO) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def _photographs(paths: list[Path], size: int | None) -> Callable[[np.ndarray], np.ndarray]:
    return lambda indices: np.stack([photograph(paths[i], size or 224) for i in indices])
