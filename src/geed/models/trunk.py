"""A published network as one that is trained here: its own normalisation, and a classifier of as many classes as the data."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geed.errors import GeedError
from geed.metrics.session import FORWARD_ERRORS
from geed.models.layers import Normalise
from geed.models.network import Network


class Classifier(nn.Module):
    """A published network's classifier and, to be measured, the features that it reads (their mean over positions, if any)."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.features = _Features()
        self.head = head

    def forward(self, read: Tensor) -> Tensor:
        """What the published classifier makes of features (N, D) or, a convolution, of maps (N, D, H, W)."""
        self.features(read)
        return self.head(read)


class _Features(nn.Module):
    def forward(self, read: Tensor) -> Tensor:
        return read.mean(dim=(2, 3)) if read.ndim == 4 else read


class Published(Network):
    """A network of the registry of pretrained weights, or of timm, with its own normalisation and as many classes as the data.

    It starts at random, as its library draws it; `take` gives it the published weights.
    """

    def __init__(self, spec: dict[str, Any], *, name: str):
        super().__init__()
        from geed.models import published

        try:
            published.check(name)
        except GeedError as error:
            raise GeedError(f"architecture.name: {error}") from error
        if name.startswith(published.TIMM):
            from geed.models import from_timm

            self.trunk, settings, self._heads, blocks = from_timm.network(name, spec["classes"])
        else:
            info = published.PRETRAINED[name]
            self.trunk, settings = info.build(spec["classes"]), info.preprocessing
            self._heads, blocks = (info.head,), info.blocks
        mean, std = list(settings["mean"]), list(settings["std"])
        if spec["channels"] != len(mean):
            raise GeedError(f"architecture.name: {name} takes images of {len(mean)} channels, found {spec['channels']}")
        spec.update(mean=mean, std=std)  # what the weights were trained with, not what the data suggest
        self.normalise = Normalise(mean, std)
        self.trunk.set_submodule(self._heads[0], Classifier(self.trunk.get_submodule(self._heads[0])))
        self.conv_layers = tuple(f"trunk.{block}" for block in blocks)
        self.feature_layer = f"trunk.{self._heads[0]}.features"
        self._try(spec)

    @property
    def head(self) -> nn.Module:
        """The classifier: linear or, reading maps, a convolution."""
        return self.trunk.get_submodule(self._heads[0]).head

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> logits (N, K)."""
        return self.trunk(self.normalise(images))

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> features (N, D)."""
        found: list[Tensor] = []
        handle = self.get_submodule(self.feature_layer).register_forward_hook(lambda _, __, output: found.append(output))
        try:
            self.forward(images)
        finally:
            handle.remove()
        return found[0]

    def take(self, path: str | Path) -> bool:
        """Take over the weights in a file of published weights; the head too where the number of classes is the same.

        Args:
            path: what `published.convert` or `zoo.save_timm` wrote.

        Returns:
            Whether the head was taken over.

        Raises:
            GeedError: the file is absent or damaged, or its weights do not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            published = load_file(path)
        except (SafetensorError, OSError) as error:
            raise GeedError(f"{path}: expected pretrained weights in safetensors format, found none ({error})") from error
        own = {name: tensor for name, tensor in self.trunk.state_dict().items() if tensor.is_floating_point()}
        first, *_ = self._heads
        tensors = {
            f"{first}.head.{name.removeprefix(f'{first}.')}" if name.startswith(f"{first}.") else name: tensor
            for name, tensor in published.items()
        }
        in_heads = {name for name in own if name.startswith(tuple(f"{head}." for head in self._heads))}
        same = all(name in tensors and tensors[name].shape == own[name].shape for name in in_heads)
        if not same:
            tensors |= {name: own[name] for name in in_heads}
        if tensors.keys() != own.keys() or any(tensors[name].shape != own[name].shape for name in own):
            raise GeedError(f"{path}: its weights do not fit the network {self.spec['architecture']['name']}")
        self.trunk.load_state_dict(tensors, strict=False)  # the files have no batch counters
        return same

    @torch.no_grad()
    def _try(self, spec: dict[str, Any]) -> None:
        """Refuse images of a size that the network does not take."""
        size = spec["size"]
        self.eval()
        try:
            self(torch.zeros(1, spec["channels"], size, size))
        except FORWARD_ERRORS as error:
            name, reason = spec["architecture"]["name"], str(error).strip().split("\n")[0]
            raise GeedError(f"architecture.name: {name} does not take images of {size} x {size} pixels: {reason}") from error
        self.train()
