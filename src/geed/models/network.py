"""What all networks that are built here have in common, and how their numbers are checked."""

from typing import Any

from torch import Tensor, nn

from geed.errors import GeedError


class Network(nn.Module):
    """What every network built here offers.

    Attributes:
        spec: the specification it was built from.
        conv_layers: names of the post-activation blocks in depth order; the last one feeds the pooling.
        feature_layer: name of the layer whose output is the features (N, D).
        head: the linear classifier (N, D) -> (N, K); of some published networks a convolution of what is pooled afterwards.
    """

    spec: dict[str, Any]
    conv_layers: tuple[str, ...]
    feature_layer: str
    head: nn.Module

    @property
    def profile(self) -> dict[str, float]:
        """The layers that are measured, with their relative depths in (0, 1]."""
        depths = {name: (index + 1) / len(self.conv_layers) for index, name in enumerate(self.conv_layers)}
        return depths | {self.feature_layer: 1.0}

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, D)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> logits (N, K)."""
        return self.head(self.features(images))


def parameter_count(model: nn.Module) -> int:
    """The number of trainable scalars."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def positive(key: str, value: Any) -> int:
    """The value, if it is a whole number above 0; a GeedError names the key otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise GeedError(f"{key}: expected a positive whole number, found {value!r}")
    return value
