"""Networks whose scores are known, and a small one whose are not."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn


def small(classes: int = 4, channels: int = 2, seed: int = 0) -> nn.Sequential:
    """A network without symmetry: layers 0 (conv), 1 (batch norm), 2 (relu, in place), 3 (strided conv), 4, 6 (vector), 7."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(channels, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 3, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, classes),
    )
    with torch.no_grad():
        network[1].weight.uniform_(0.5, 1.5)
        network[1].bias.normal_()
        network[7].weight.mul_(4)
    return network


class Constant(nn.Module):
    """The same logits for every image."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.logits = nn.Parameter(torch.arange(float(classes)))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


class Pixels(nn.Module):
    """The identity (layer `identity`), then all pixels as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.identity(images).flatten(1)


def equivariant(classes: int = 3, channels: int = 2, seed: int = 0) -> nn.Sequential:
    """Equivariant to D4 and to cyclic shifts by construction (symmetrised kernels, cyclic padding); invariant after the mean."""
    torch.manual_seed(seed)
    around = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
    first, second = nn.Conv2d(channels, 6, **around), nn.Conv2d(6, 6, **around)
    with torch.no_grad():
        for convolution in (first, second):
            weight = convolution.weight.data
            weight = sum(torch.rot90(flipped, k, (-2, -1)) for flipped in (weight, weight.flip(-1)) for k in range(4)) / 8
            convolution.weight.copy_(weight)
    return nn.Sequential(first, nn.ReLU(), second, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes))


@pytest.fixture(scope="session")
def networks():
    """The builders above."""
    return SimpleNamespace(small=small, equivariant=equivariant, Constant=Constant, Pixels=Pixels)
