"""A tiny data set that can be learned: a dot, a line or a square, somewhere, in noise."""

import pytest
import torch

from geed.data.imageset import ImageSet

SHAPES = {"dot": (1, 1), "line": (1, 6), "square": (4, 4)}


def make_images(n: int, split: str, size: int = 9) -> ImageSet:
    generator = torch.Generator().manual_seed(len(split))
    labels = torch.arange(n) % len(SHAPES)
    images = 0.3 * torch.rand(n, 1, size, size, generator=generator)
    for image, label in zip(images, labels, strict=True):
        height, width = list(SHAPES.values())[label]
        row, column = (int(torch.randint(size - side + 1, (), generator=generator)) for side in (height, width))
        image[:, row : row + height, column : column + width] += 0.7
    return ImageSet(images.clamp(0, 1), labels, torch.arange(n), tuple(SHAPES), "shapes", split)


@pytest.fixture
def train() -> ImageSet:
    return make_images(50, "train")


@pytest.fixture
def validation() -> ImageSet:
    return make_images(21, "validation")
