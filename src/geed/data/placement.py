"""Where an image lies on its canvas: zero padding, and a random rotation of each image."""

import math

import torch
from torch import Tensor

from geed import seeds
from geed.errors import GeedError


def pad(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) in the middle of a square of zeros; of an odd margin the larger half is below and to the right.

    Raises:
        GeedError: the images are larger than the square.
    """
    height, width = images.shape[-2:]
    if side < max(height, width):
        raise GeedError(f"pad: expected at least {max(height, width)} pixels, the side of the images, found {side}")
    top, left = (side - height) // 2, (side - width) // 2
    return torch.nn.functional.pad(images, (left, side - width - left, top, side - height - top))


def rotate_at_random(images: Tensor, ids: Tensor, name: str, chunk: int = 2048) -> Tensor:
    """Every image turned about its centre by an angle of its own, uniform on the circle and decided by `name` and the image's id.

    Bilinear, zero beyond the border, and rounded to bytes, as the published images are (pixels k/255).

    Args:
        images: (N, C, H, W) in [0, 1], square; with a margin of zeros, or their corners are lost.
        ids: (N,), which image of its source each is.
        name: what keys the angles, beside the ids.
        chunk: images at a time.
    """
    # one stream for the whole source: an image has the same angle in whatever split or selection it appears
    angles = 2 * math.pi * torch.rand(int(ids.max()) + 1, generator=seeds.generator("data", name, "rotation"))[ids]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros(len(angles))
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    turned = [
        torch.nn.functional.grid_sample(
            part, torch.nn.functional.affine_grid(map_, list(part.shape), align_corners=False), align_corners=False
        )
        for part, map_ in zip(images.split(chunk), theta.split(chunk), strict=True)
    ]
    return (torch.cat(turned).clamp_(0, 1) * 255).round_() / 255
