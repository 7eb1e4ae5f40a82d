"""A folder of images on disk, read in batches while the next batch is being decoded."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geed.errors import GeedError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")


class ImageFolder:
    """The images in a folder, in the order of their names; an iterable of batches (n, C, H, W).

    Images lie flat in the folder, or in one subfolder per class; then sorted subfolder names are the labels 0, 1, …

    Attributes:
        paths: the image files.
        classes: names of the subfolders; empty where the folder is flat.
        labels: int64 (N,), or None where the folder is flat.
        sha256: of all names and contents, once the images have been read to the end; else None.
    """

    def __init__(
        self, folder: str | Path, transform: Callable[["Image"], Tensor], batch_size: int = 256, limit: int | None = None
    ):
        """List the files; none is read yet.

        Args:
            folder: where the images are.
            transform: PIL image -> float32 (C, H, W) in [0, 1].
            batch_size: images a batch.
            limit: use at most this many, evenly spaced over the sorted names, so that classes stay in proportion; None = all.

        Raises:
            GeedError: no such folder, no images in it, images both flat and in subfolders, or a limit below 1.
        """
        self.folder, self.transform, self.batch_size = Path(folder), transform, batch_size
        if not self.folder.is_dir():
            raise GeedError(f"{folder}: no such folder")
        flat = _images(self.folder)
        self.classes = tuple(sorted(entry.name for entry in self.folder.iterdir() if entry.is_dir() and _images(entry)))
        if flat and self.classes:
            raise GeedError(f"{folder}: expected images flat or in subfolders, found both ({flat[0].name}, {self.classes[0]}/)")
        labelled = [(path, label) for label, name in enumerate(self.classes) for path in _images(self.folder / name)]
        labelled = labelled or [(path, -1) for path in flat]
        if not labelled:
            raise GeedError(f"{folder}: no images in it, nor in its subfolders (looked for {', '.join(SUFFIXES)})")
        if limit is not None and limit < 1:
            raise GeedError(f"{folder}: limit must be at least 1, found {limit}")
        if limit is not None and limit < len(labelled):
            labelled = [labelled[index * len(labelled) // limit] for index in range(limit)]
        self.paths = [path for path, _ in labelled]
        self.labels = torch.tensor([label for _, label in labelled]) if self.classes else None
        self.sha256: str | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Tensor]:
        """Batches, at most one of them ahead of the reader.

        Raises:
            GeedError: a file is not an image, or an image has another shape than those before; the sentence names the file.
        """
        digest, shape = hashlib.sha256(), None
        batches = [self.paths[start : start + self.batch_size] for start in range(0, len(self.paths), self.batch_size)]
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            following = pool.map(self._read, batches[0])
            for index, batch in enumerate(batches):
                ready = list(following)
                following = pool.map(self._read, batches[index + 1] if index + 1 < len(batches) else [])
                for path, (image, content_digest) in zip(batch, ready, strict=True):
                    digest.update(f"{path.relative_to(self.folder).as_posix()}\0{content_digest}\n".encode())
                    shape = shape or tuple(image.shape)
                    if image.shape != shape:
                        raise GeedError(
                            f"{path}: has shape {tuple(image.shape)} where the images before have {shape}; "
                            "give an input size, so that all are brought to it"
                        )
                yield torch.stack([image for image, _ in ready])
        self.sha256 = digest.hexdigest()

    def _read(self, path: Path) -> tuple[Tensor, str]:
        from PIL import Image

        try:
            content = path.read_bytes()
            with Image.open(BytesIO(content)) as image:
                return self.transform(image), hashlib.sha256(content).hexdigest()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise GeedError(f"{path}: cannot be read as an image: {' '.join(str(error).split())}") from error


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
