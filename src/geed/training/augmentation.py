"""Random augmentations of whole batches, on the batch's device, drawn from named streams.

Every augmentation has a stream of its own, so that two runs which share an augmentation share its draws whatever else they use.
All of them map images in [0, 1] to images in [0, 1].
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from geed import groups, seeds
from geed.errors import GeedError, nearest
from geed.training.names import AUGMENTATIONS

Augmentation = Callable[[Tensor, Generator], Tensor]


class Pipeline:
    """Augmentations one after another.

    Args:
        augmentations: names from `geed.training.names.AUGMENTATIONS`, or group specs such as "rotations:4".

    Attributes:
        groups: the groups among them.

    Raises:
        GeedError: a name is neither.
    """

    def __init__(self, augmentations: Sequence[str]):
        self._steps = {name: _parse(name) for name in augmentations}
        self.groups = [groups.parse(name) for name in self._steps if name not in AUGMENTATIONS]

    def __len__(self) -> int:
        """How many augmentations there are."""
        return len(self._steps)

    def streams(self, *names: object) -> list[Generator]:
        """One generator per augmentation, keyed by `names` and the augmentation's name."""
        return [seeds.generator(*names, "augmentation", name) for name in self._steps]

    def __call__(self, images: Tensor, streams: Sequence[Generator]) -> Tensor:
        """Augment images (N, C, H, W), advancing the streams."""
        for step, stream in zip(self._steps.values(), streams, strict=True):
            images = step(images, stream)
        return images


def group_action(group: "groups.Group") -> Augmentation:
    """An element of a finite group for each image, uniformly at random."""

    def act(images: Tensor, generator: Generator) -> Tensor:
        elements = group.averaged[0] + torch.randint(len(group.averaged), (len(images),), generator=generator)
        return act_each(group, elements, images)

    return act


def act_each(group: "groups.Group", elements: Tensor, images: Tensor) -> Tensor:
    """Images (N, C, H, W), each moved by the element (N,) of a finite group that stands beside it."""
    result = torch.empty_like(images)
    for k in elements.unique().tolist():
        rows = (elements == k).nonzero().squeeze(1).to(images.device)
        result[rows] = group.act(k, images[rows])
    return result


def crop(images: Tensor, generator: Generator) -> Tensor:
    """A window of 70 to 100 % of each side at a random place, brought back to full size (bilinear)."""
    size = 0.7 + 0.3 * torch.rand((len(images), 1), generator=generator)
    centre = (1 - size) * (2 * torch.rand((len(images), 2), generator=generator) - 1)
    # rows of the affine map from output to input coordinates, both in [-1, 1]
    theta = torch.cat([torch.diag_embed(size.expand(-1, 2)), centre[:, :, None]], dim=2)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def noise(images: Tensor, generator: Generator) -> Tensor:
    """Gaussian noise whose standard deviation is uniform in [0, 0.1] for each image."""
    drawn = torch.randn(images.shape, generator=generator) * (0.1 * _uniform(images, generator))
    return (images + drawn.to(images)).clamp(0, 1)


def intensity(images: Tensor, generator: Generator) -> Tensor:
    """Contrast times 0.6 to 1.4 about each image's mean, then brightness by up to 0.2 either way."""
    contrast = (0.6 + 0.8 * _uniform(images, generator)).to(images)
    brightness = (0.4 * _uniform(images, generator) - 0.2).to(images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness).clamp(0, 1)


def erase(images: Tensor, generator: Generator) -> Tensor:
    """A square of a third of the side, at a random place that may overhang the border, set to black."""
    rows, columns = (_erased(images, side, generator) for side in images.shape[-2:])
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


def _erased(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Which positions along one axis the square covers: bool (N, side)."""
    centre = torch.randint(side, (len(images), 1), generator=generator)
    return ((torch.arange(side) - centre).abs() <= side // 6).to(images.device)


def _uniform(images: Tensor, generator: Generator) -> Tensor:
    """One number in [0, 1) for each image, (N, 1, 1, 1), on the CPU."""
    return torch.rand((len(images), 1, 1, 1), generator=generator)


_FUNCTIONS: dict[str, Augmentation] = {"crop": crop, "noise": noise, "intensity": intensity, "erase": erase}


def _parse(name: str) -> Augmentation:
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    try:
        return group_action(groups.parse(name))
    except GeedError as error:
        hint = nearest(name, AUGMENTATIONS)
        raise GeedError(f"augmentation '{name}': neither an augmentation{hint} nor a group ({error})") from error
