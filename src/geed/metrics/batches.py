"""Images in, chunks of checked images out, each with what is needed to build its orbit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geed.errors import GeedError

_LARGEST = 30.0  # images in [0, 1], or standardised, stay far below; 0 … 255 does not


@dataclass(frozen=True)
class Chunk:
    """Some images of the data set.

    Attributes:
        start: the number of images before them.
        images: (N, C, H, W), floating point.
        labels: (N,) int64, or None.
        for_element: element -> the images that it is to act on; `images`, but for the shuffled null.
    """

    start: int
    images: Tensor
    labels: Tensor | None
    for_element: Callable[[int], Tensor]


def chunks(images: Any, labels: Any, size_for: Callable[[Tensor], int]) -> Iterator[Chunk]:
    """Split a tensor, or an iterable of batches or (batch, labels) pairs, into chunks of at most `size_for(batch)` images.

    Raises:
        GeedError: something is not a batch of images, or does not match the labels.
    """
    labels = None if labels is None else _labels(labels)
    start = 0
    for batch, own in _batches(images):
        check(batch)
        if own is not None:
            own = _labels(own)
            if len(own) != len(batch):
                raise GeedError(f"labels: a batch of {len(batch)} images came with {len(own)} labels")
        elif labels is not None:
            own = labels[start : start + len(batch)]
            if len(own) < len(batch):
                raise GeedError(f"labels: expected one per image, found {len(labels)} for more images")
        size = size_for(batch) if len(batch) else 1
        for low in range(0, len(batch), size):
            part = batch[low : low + size]
            yield Chunk(start + low, part, None if own is None else own[low : low + size], lambda k, part=part: part)
        start += len(batch)
    if labels is not None and len(labels) > start:
        raise GeedError(f"labels: expected one per image, found {len(labels)} for {start} images")


def shuffled_chunks(images: Any, labels: Any, size_for: Callable[[Tensor], int], order: int) -> Iterator[Chunk]:
    """The same, but element k > 0 acts on *another* image: the one round(k·N/|G|) places on, so that no orbit is one image's own.

    Raises:
        GeedError: as `chunks`; or the images are not one tensor, or there are fewer than two.
    """
    if not isinstance(images, Tensor) or len(images) < 2:
        raise GeedError("null='shuffled' pairs each image with others: it needs the images as one tensor, of at least two")
    for chunk in chunks(images, labels, size_for):
        places = torch.arange(chunk.start, chunk.start + len(chunk.images))

        def for_element(k: int, places: Tensor = places) -> Tensor:
            step = max(1, k * len(images) // order) if k else 0
            return images[(places + step) % len(images)]

        yield Chunk(chunk.start, chunk.images, chunk.labels, for_element)


def check(batch: Any) -> None:
    """Raise GeedError unless `batch` is (N, C, H, W), real, finite, and no larger than images are once they are prepared."""
    if not isinstance(batch, Tensor):
        raise GeedError(f"images: expected a tensor (N, C, H, W) or batches of such; found a {type(batch).__name__}")
    if batch.ndim != 4:
        raise GeedError(f"images: expected shape (N, C, H, W); found {tuple(batch.shape)}")
    if not batch.is_floating_point():
        raise GeedError(
            f"images: expected floating point in [0, 1], or standardised; found {str(batch.dtype).removeprefix('torch.')}"
        )
    if 0 in batch.shape[1:]:
        raise GeedError(f"images: expected at least one channel, row and column; found shape {tuple(batch.shape)}")
    if batch.numel():
        low, high = (float(value) for value in batch.aminmax())
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise GeedError("images: found NaN or infinity")
        if max(-low, high) > _LARGEST:
            raise GeedError(f"images: expected values in [0, 1], or standardised; found {low:g} to {high:g}")


def _batches(images: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(images, Tensor):
        return [(images, None)]
    if isinstance(images, (str, bytes, dict)) or not isinstance(images, Iterable):
        raise GeedError(f"images: expected a tensor (N, C, H, W) or batches of such; found a {type(images).__name__}")
    return (_pair(batch) for batch in images)


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, (tuple, list)):
        if len(batch) not in (1, 2):
            raise GeedError(f"images: expected batches (images, labels); found a {type(batch).__name__} of {len(batch)}")
        return batch[0], batch[1] if len(batch) == 2 else None
    return batch, None


def _labels(labels: Any) -> Tensor:
    labels = torch.as_tensor(labels)
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        found = f"{str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}"
        raise GeedError(f"labels: expected one class index per image, integers (N,); found {found}")
    return labels.long()
