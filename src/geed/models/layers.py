"""Layers that networks of several modules share."""

from collections.abc import Sequence
from typing import Any

import torch
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
    """The mean over positions: (N, C, H, W) -> (N, C). Takes e2cnn's GeometricTensor too."""

    def forward(self, maps: Any) -> Tensor:
        """Feature maps -> pooled features (N, C)."""
        maps = maps if isinstance(maps, Tensor) else maps.tensor
        return maps.mean(dim=(2, 3))
