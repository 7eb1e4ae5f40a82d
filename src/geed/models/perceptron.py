"""Multilayer perceptrons, plain and with weights tied over a group of pixel permutations, after Moskalev et al. 2023."""

from typing import Any

import torch
from torch import Tensor, nn

from geed import groups
from geed.errors import GeedError, nearest
from geed.models.layers import Normalise
from geed.models.network import Network, positive


class Perceptron(Network):
    """`layers` hidden layers of `hidden` ReLU units on the flattened image, and a linear head. It has no conv layers."""

    def __init__(self, spec: dict[str, Any], *, hidden: int, layers: int):
        super().__init__()
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.blocks = nn.Sequential(nn.Flatten())
        inputs = spec["channels"] * spec["size"] ** 2
        for _ in range(positive("layers", layers)):
            self.blocks.append(nn.Sequential(nn.Linear(inputs, positive("hidden", hidden)), nn.ReLU()))
            inputs = hidden
        self.head = nn.Linear(inputs, spec["classes"])
        self.conv_layers = ()
        self.feature_layer = f"blocks.{layers}"

    @property
    def profile(self) -> dict[str, float]:
        """Every hidden layer."""
        layers = len(self.blocks) - 1
        return {f"blocks.{index + 1}": (index + 1) / layers for index in range(layers)}

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, hidden)."""
        return self.blocks(self.normalise(images))


class TiedLinear(nn.Linear):
    """A linear layer with ReLU whose weights are tied over a group, pooled over it: x -> pool_g relu(W gx + b), invariant.

    Since g permutes pixels, W gx = (g^-1 W) x: the weights are moved, not the images, and one product serves all elements.
    """

    def __init__(self, shape: tuple[int, int, int], outputs: int, group: groups.Group, pooling: str):
        super().__init__(shape[0] * shape[1] * shape[2], outputs)
        self.shape, self.group, self.pooling = shape, group, pooling

    def forward(self, flat: Tensor) -> Tensor:
        """Flattened images (N, C·H·W) -> (N, outputs)."""
        weight = self.weight.unflatten(1, self.shape)
        tied = torch.cat([self.group.act(self.group.inverse(k), weight) for k in range(self.group.order)])
        orbit = torch.mm(flat, tied.flatten(1).T).unflatten(1, (self.group.order, -1))
        if self.pooling == "max":
            return torch.relu(orbit.amax(dim=1) + self.bias)  # the same as the largest ReLU
        return torch.relu(orbit + self.bias).mean(dim=1)


class TiedPerceptron(Perceptron):
    """The same perceptron, its first layer tied to a group of pixel permutations and pooled over it: invariant by construction.

    It has as many weights as the plain one, and of one stream starts from the same. Source: Moskalev et al. 2023 (weight-tying
    with pooling in the first layer only).
    """

    def __init__(self, spec: dict[str, Any], *, hidden: int, layers: int, symmetry: str, pooling: str):
        super().__init__(spec, hidden=hidden, layers=layers)
        group, size = groups.parse(symmetry), spec["size"]
        if not group.exact_on(size, size):
            raise GeedError(f"architecture.symmetry: expected a group that permutes {size} x {size} pixels, found '{symmetry}'")
        if pooling not in ("max", "mean"):
            raise GeedError(f"architecture.pooling: unknown pooling '{pooling}'{nearest(pooling, ['max', 'mean'])}")
        first = TiedLinear((spec["channels"], size, size), hidden, group, pooling)
        first.load_state_dict(self.blocks[1][0].state_dict())
        self.blocks[1] = first
