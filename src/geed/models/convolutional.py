"""Plain and steerable convolutional networks that differ in their convolutions only.

Depth, kernel, strides, padding, normalisation and pooling are the same, so that a comparison between them is about weight tying.
A stride on an odd size keeps the sampling grid symmetric (15 -> 8), hence a steerable network is exactly equivariant there, to
rounding.

Sources: E(2)-steerable CNNs, Weiler and Cesa 2019 (arXiv 1911.08251), through e2cnn; anti-aliasing, Zhang 2019 (1904.11486).
"""

from typing import Any

import torch
from torch import Tensor, nn

from geed import compat
from geed.errors import GeedError, nearest
from geed.models.layers import BlurPool, GlobalAveragePool, Normalise
from geed.models.network import Network, positive


class PlainCNN(Network):
    """Blocks of convolution 3x3, batch normalisation and ReLU, then global average pooling and a linear head.

    With circular padding and stride 1 it is exactly invariant to cyclic translations, by construction. A block's stride is the
    convolution's, or that of a pooling after the ReLU: the largest of 2x2 or, anti-aliased, every second pixel of a blur with the
    binomial filter 1-2-1.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        *,
        widths: list[int],
        stride: int | list[int] = 2,
        padding: str = "zeros",
        downsampling: str = "stride",
    ):
        super().__init__()
        for key, value, known in (
            ("padding", padding, ["zeros", "circular"]),
            ("downsampling", downsampling, ["stride", "max_pool", "blur_pool"]),
        ):
            if value not in known:
                raise GeedError(f"architecture.{key}: unknown {key} '{value}'{nearest(value, known)}")
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.blocks = nn.Sequential()
        inputs = spec["channels"]
        for width, step in zip(_widths(widths), _strides(stride, len(widths)), strict=True):
            own = step if downsampling == "stride" else 1
            convolution = nn.Conv2d(inputs, width, 3, own, padding=1, padding_mode=padding, bias=False)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            block = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
            if own < step:
                block.append(_pooling(downsampling, step))
            self.blocks.append(block)
            inputs = width
        self.pool = GlobalAveragePool()
        self.head = nn.Linear(inputs, spec["classes"])
        self.conv_layers = tuple(f"blocks.{i}" for i in range(len(widths)))
        self.feature_layer = "pool"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, widths[-1])."""
        return self.pool(self.blocks(self.normalise(images)))


def _pooling(kind: str, stride: int) -> nn.Module:
    """What comes after a block that halves the size without a strided convolution."""
    return nn.MaxPool2d(stride) if kind == "max_pool" else BlurPool(stride)


class SteerableCNN(Network):
    """The same network with steerable convolutions on regular fields, then group pooling: invariant by construction.

    `widths` counts fields, each of as many channels as the group has elements. A block returns e2cnn's GeometricTensor,
    whose `type` says how the symmetry acts on its channels.
    """

    def __init__(self, spec: dict[str, Any], *, symmetry: str, widths: list[int], stride: int | list[int] = 2):
        super().__init__()
        enn = compat.import_e2cnn().nn
        space = _symmetry(symmetry)
        self.normalise = Normalise(spec["mean"], spec["std"])
        self._input_type = inputs = enn.FieldType(space, spec["channels"] * [space.trivial_repr])
        self._tensor = enn.GeometricTensor
        self.blocks = nn.Sequential()
        for width, step in zip(_widths(widths), _strides(stride, len(widths)), strict=True):
            fields = enn.FieldType(space, width * [space.regular_repr])
            convolution = enn.R2Conv(inputs, fields, 3, padding=1, stride=step, bias=False)
            # not in place: a hook on the normalisation must see its output, not what the ReLU made of it
            self.blocks.append(enn.SequentialModule(convolution, enn.InnerBatchNorm(fields), enn.ReLU(fields, inplace=False)))
            inputs = fields
        self.group_pool = enn.GroupPooling(inputs)
        self.pool = GlobalAveragePool()
        self.head = nn.Linear(len(inputs), spec["classes"])
        self.conv_layers = tuple(f"blocks.{i}" for i in range(len(widths)))
        self.feature_layer = "pool"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> invariant features (N, widths[-1])."""
        return self.pool(self.group_pool(self.blocks(self._tensor(self.normalise(images), self._input_type))))

    def train(self, mode: bool = True) -> "SteerableCNN":
        """As `nn.Module.train`. On entering eval mode e2cnn expands its filters once: constants from then on, so no graph."""
        with torch.no_grad():
            return super().train(mode)


def _widths(widths: Any) -> list[int]:
    if not isinstance(widths, list | tuple) or not widths:
        raise GeedError(f"architecture.widths: expected a list with one width per block, found {widths!r}")
    return [positive("architecture.widths", width) for width in widths]


def _strides(stride: int | list[int], blocks: int) -> list[int]:
    """One stride per block: a single number is the second block's, the others keep the size."""
    strides = [stride if block == 1 else 1 for block in range(blocks)] if isinstance(stride, int) else list(stride)
    if len(strides) != blocks:
        raise GeedError(f"architecture.stride: expected one number, or one for each of the {blocks} blocks, found {stride!r}")
    return [positive("architecture.stride", step) for step in strides]


def _symmetry(spec: str) -> Any:
    """The e2cnn space of a symmetry, written as in `geed.groups`: "rotations:4", "reflections", "dihedral:4"."""
    gspaces = compat.import_e2cnn().gspaces
    name, _, order = str(spec).partition(":")
    if name == "reflections" and not order:
        return gspaces.Flip2dOnR2()
    if name in ("rotations", "dihedral") and order.isdigit() and int(order) > 1:
        return (gspaces.Rot2dOnR2 if name == "rotations" else gspaces.FlipRot2dOnR2)(int(order))
    known = ["rotations:4", "reflections", "dihedral:4"]
    raise GeedError(f"architecture.symmetry: cannot make a steerable network for '{spec}'{nearest(spec, known)}")
