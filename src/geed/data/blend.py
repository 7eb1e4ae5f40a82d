"""A shift of domain by degrees: D(β) = (1 − β)·X + β·Y, each image of X blended with one of Y.

Source: Moskalev et al. 2023, Fig 4. They do not say how images are paired.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import torch

from geed import seeds
from geed.data.imageset import ImageSet
from geed.errors import GeedError


def blend(images: ImageSet, other: ImageSet, at: Sequence[float]) -> Iterator[ImageSet]:
    """Blend every image with its partner, drawn once from the other set and the same for every β and every network.

    Partners are drawn with replacement (the other set may be the smaller one) from the stream called after both sets, so that
    the first images have the same partners however many there are. Labels stay those of `images`.

    Args:
        images: X, what is blended; its labels stay.
        other: Y, what it is blended with.
        at: shares β of the other image, each in [0, 1].

    Yields:
        The blended images at each share, one set at a time in memory.

    Raises:
        GeedError: the sets' images differ in shape.
    """
    shape, found = tuple(images.images.shape[1:]), tuple(other.images.shape[1:])
    if shape != found:
        raise GeedError(f"blend: expected images of {other.name} of the shape {shape} of {images.name}, found {found}")
    stream = seeds.generator("blend", images.name, images.split, other.name, other.split)
    partners = torch.randint(len(other), (len(images),), generator=stream)
    for share in at:
        yield dataclasses.replace(images, images=torch.lerp(images.images, other.images[partners], share))
