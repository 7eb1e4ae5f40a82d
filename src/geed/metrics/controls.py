"""What to hold a number against: the floor that the resampler sets, and networks that have learned nothing.

The third control, orbits of unrelated images, is ``measure(..., null="shuffled")``.
"""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from geed import seeds
from geed.errors import GeedError
from geed.groups.base import Group
from geed.metrics.batches import check
from geed.metrics.engine import measure

if TYPE_CHECKING:
    import pandas as pd


def floor(images: Tensor, group: Group, metrics: Sequence[str], size: int) -> "pd.DataFrame":
    """What a network that is equivariant by construction scores, so that what lies above is not charged to a network.

    The network smooths (Gaussian of half an output pixel), averages down to size × size pixels (its layer "map") and then over
    the whole map (its layer "vector", and its output). In the continuum it commutes with every rotation, reflection and
    translation; whatever it fails to is the doing of interpolation, of the disc, and of the pixel grid. For exact groups that
    divide the sizes there is nothing left.

    Args:
        images: (N, C, H, W).
        group: the group.
        metrics: as for `measure`; those of maps and of vectors make sense.
        size: the side of the maps of the layer that is to be judged.

    Raises:
        GeedError: as `measure` does; or `size` is not between 1 and the images' side.
    """
    check(images)
    side = min(images.shape[-2:])
    if not 1 <= size <= side:
        raise GeedError(f"floor: expected a size from 1 to {side}, the images' side; found {size}")
    model = nn.Sequential(
        OrderedDict(
            smooth=_Gaussian(images.shape[1], 0.5 * side / size),
            map=nn.AdaptiveAvgPool2d(size),
            pool=nn.AdaptiveAvgPool2d(1),
            vector=nn.Flatten(),
        )
    ).to(images.dtype)
    return measure(model, images, group=group, metrics=metrics, layers=["map", "vector"], device="cpu")


def untrained(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of the model with new weights: the null that shows how much of a number is the architecture's.

    Each module with a `reset_parameters` draws its own initialisation (batch norms forget their statistics too), and e2cnn's
    steerable convolutions theirs; parameters of other modules are shuffled, which keeps their distribution.

    Args:
        model: any network; left as it is.
        seed: of the new weights.
    """
    # e2cnn's expanded filters carry a gradient, which deepcopy refuses.
    computed = {id(buffer): buffer.detach().clone() for buffer in model.buffers() if not buffer.is_leaf}
    clone = copy.deepcopy(model, computed)
    generator = seeds.generator("untrained", seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seeds.seed_of("untrained", seed))
        for module in clone.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif hasattr(module, "basisexpansion"):
                from e2cnn.nn import init

                init.generalized_he_init(module.weights.data, module.basisexpansion)
            else:
                for parameter in module.parameters(recurse=False):
                    places = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                    parameter.copy_(parameter.flatten()[places].view_as(parameter))
    # e2cnn keeps expanded filters in eval mode; they belong to the old weights.
    return clone.train().train(model.training)


class _Gaussian(nn.Module):
    """Isotropic Gaussian smoothing, cyclic at the borders, so that it commutes with cyclic shifts too."""

    def __init__(self, channels: int, sigma: float):
        super().__init__()
        self.radius = max(1, round(2 * sigma))
        line = torch.exp(-0.5 * (torch.arange(-self.radius, self.radius + 1, dtype=torch.float64) / sigma) ** 2)
        kernel = torch.outer(line, line) / line.sum() ** 2
        self.register_buffer("kernel", kernel.expand(channels, 1, *kernel.shape).contiguous())

    def forward(self, images: Tensor) -> Tensor:
        radius = min(self.radius, *images.shape[-2:])
        trim = self.radius - radius
        kernel = self.kernel[..., trim : self.kernel.shape[-2] - trim, trim : self.kernel.shape[-1] - trim]
        padded = nn.functional.pad(images, (radius,) * 4, mode="circular")
        return nn.functional.conv2d(padded, kernel, groups=images.shape[1])
