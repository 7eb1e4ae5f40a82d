"""Interpolated actions: rotation by any angle inside a disc, cyclic translation by any fraction of a pixel."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@functools.lru_cache(maxsize=64)
def disc(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The pixels (side, side) whose centres lie in the inscribed disc: ones, elsewhere zeros."""
    import torch

    centre = torch.arange(side, device=device, dtype=torch.float64) - (side - 1) / 2
    return (centre.square() + centre[:, None].square() <= (side / 2) ** 2).to(dtype)


@functools.lru_cache(maxsize=256)
def _grid(side: int, angle: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Where to read for a counterclockwise rotation: (1, side, side, 2), in the coordinates of `grid_sample`."""
    import torch

    cos, sin = math.cos(angle), math.sin(angle)
    axis = (torch.arange(side, device=device, dtype=torch.float64) * 2 + 1) / side - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    # Rows count downwards, so a counterclockwise rotation as seen reads its source at the clockwise rotated place.
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)[None].to(dtype)


def rotate(images: Tensor, angle: float) -> Tensor:
    """Counterclockwise rotation by `angle` radians about the centre of a square, zero outside the inscribed disc.

    Whole quarter turns are done by `rot90`, the remainder (at most an eighth of a turn) by bicubic interpolation; nothing
    that lies inside the disc is ever lost, and nothing outside it ever counts.
    """
    import torch

    quarters = round(angle / (math.pi / 2))
    rest = angle - quarters * (math.pi / 2)
    if quarters % 4:
        images = torch.rot90(images, quarters % 4, dims=(-2, -1))
    side = images.shape[-1]
    if abs(rest) > 1e-12:
        grid = _grid(side, rest, images.device, images.dtype)
        flat = images.reshape(1, -1, side, side)
        images = torch.nn.functional.grid_sample(flat, grid, mode="bicubic", padding_mode="zeros", align_corners=False).reshape(
            images.shape
        )
    return images * disc(side, images.device, images.dtype)


def shift(images: Tensor, pixels: float, dim: int) -> Tensor:
    """Cyclic shift along `dim` by any number of pixels: `roll` for whole ones, Fourier interpolation else.

    Fourier interpolation is exact for band-limited signals. On an even number of pixels the highest frequency has no
    defined phase and is attenuated, so fractional shifts do not compose exactly there.
    """
    import torch

    size = images.shape[dim]
    whole = round(pixels)
    if abs(pixels - whole) < 1e-9:
        return torch.roll(images, whole % size, dims=dim) if whole % size else images
    spectrum = torch.fft.rfft(images, dim=dim)
    frequency = torch.arange(spectrum.shape[dim], device=images.device, dtype=torch.float64)
    phase = torch.polar(torch.ones_like(frequency), -2 * math.pi * pixels / size * frequency).to(spectrum.dtype)
    shape = [1] * images.ndim
    shape[dim] = -1
    return torch.fft.irfft(spectrum * phase.reshape(shape), n=size, dim=dim)
