"""Layers that networks of several modules share."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Normalise(nn.Module):
    """(x - mean) / std by channel; the constants come from the specification and are not trained."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> the same shape, about zero mean and unit deviation."""
        return (images - self.mean) / self.std


class GlobalAveragePool(nn.Module):
    """The mean over positions: maps (N, C, H, W) or tokens (N, T, C) -> (N, C). Takes e2cnn's GeometricTensor too."""

    def forward(self, maps: Any) -> Tensor:
        """Feature maps or tokens -> pooled features (N, C)."""
        maps = maps if isinstance(maps, Tensor) else maps.tensor
        return maps.mean(dim=1 if maps.ndim == 3 else (2, 3))


class BlurPool(nn.Module):
    """Every `stride`-th pixel of the maps blurred with the binomial filter 1-2-1 (Zhang 2019), mirrored at the border."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(row, row), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        channels = maps.shape[1]
        padded = F.pad(maps, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.kernel.expand(channels, 1, 3, 3), stride=self.stride, groups=channels)
