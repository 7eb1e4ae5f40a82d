"""Networks from plain specifications: images in [0, 1] in, logits out, normalisation inside.

The plain and the steerable network differ in their convolutions only: depth, kernel, strides, padding, normalisation and
pooling are the same, so that a comparison between them is about weight tying. A stride on an odd size keeps the sampling
grid symmetric (15 -> 8), hence a steerable network is exactly equivariant there, to rounding.

Sources: E(2)-steerable CNNs, Weiler and Cesa 2019 (arXiv 1911.08251), through e2cnn.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geed import compat, groups, seeds
from geed.errors import GeedError, nearest
from geed.metrics.session import FORWARD_ERRORS
from geed.models.layers import GlobalAveragePool, Normalise


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


class PlainCNN(Network):
    """Blocks of convolution 3x3, batch normalisation and ReLU, then global average pooling and a linear head.

    With circular padding and stride 1 it is exactly invariant to cyclic translations, by construction. A block's stride is the
    convolution's, or that of a pooling after the ReLU: the largest of 2x2 or, anti-aliased, every second pixel of a blur with the
    binomial filter 1-2-1 (Zhang 2019, arXiv 1904.11486).
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
                block.append(_pooling(downsampling, width, step))
            self.blocks.append(block)
            inputs = width
        self.pool = GlobalAveragePool()
        self.head = nn.Linear(inputs, spec["classes"])
        self.conv_layers = tuple(f"blocks.{i}" for i in range(len(widths)))
        self.feature_layer = "pool"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, widths[-1])."""
        return self.pool(self.blocks(self.normalise(images)))


def _pooling(kind: str, channels: int, stride: int) -> nn.Module:
    """What comes after a block that halves the size without a strided convolution."""
    if kind == "max_pool":
        return nn.MaxPool2d(stride)
    return compat.import_timm().layers.BlurPool2d(channels, filt_size=3, stride=stride)


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


class Perceptron(Network):
    """`layers` hidden layers of `hidden` ReLU units on the flattened image, and a linear head. It has no conv layers."""

    def __init__(self, spec: dict[str, Any], *, hidden: int, layers: int):
        super().__init__()
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.blocks = nn.Sequential(nn.Flatten())
        inputs = spec["channels"] * spec["size"] ** 2
        for _ in range(_positive("layers", layers)):
            self.blocks.append(nn.Sequential(nn.Linear(inputs, _positive("hidden", hidden)), nn.ReLU()))
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


class VisionTransformer(Network):
    """A small vision transformer (Dosovitskiy et al. 2021) of timm: patches, blocks, the mean of the tokens, a linear head.

    It has no class token, as the small ones that are trained from scratch; positions are embedded by learned vectors.
    """

    def __init__(self, spec: dict[str, Any], *, patch: int, width: int, depth: int, heads: int):
        super().__init__()
        _check_patch(spec["size"], patch)
        if _positive("architecture.width", width) % _positive("architecture.heads", heads):
            raise GeedError(f"architecture.heads: expected a divisor of the width {width}, found {heads}")
        timm = compat.import_timm()
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.trunk = timm.models.vision_transformer.VisionTransformer(
            img_size=spec["size"],
            patch_size=patch,
            in_chans=spec["channels"],
            num_classes=0,
            global_pool="avg",
            class_token=False,
            embed_dim=width,
            depth=_positive("architecture.depth", depth),
            num_heads=heads,
        )
        self.head = nn.Linear(width, spec["classes"])
        self.conv_layers = tuple(f"trunk.blocks.{i}" for i in range(depth))
        self.feature_layer = "trunk.fc_norm"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, width)."""
        return self.trunk(self.normalise(images))


class Mixer(Network):
    """A small MLP-Mixer (Tolstikhin et al. 2021) of timm: patches, `depth` blocks, the mean of the tokens, a linear head."""

    def __init__(self, spec: dict[str, Any], *, patch: int, width: int, depth: int):
        super().__init__()
        _check_patch(spec["size"], patch)
        timm = compat.import_timm()
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.trunk = timm.models.mlp_mixer.MlpMixer(
            num_classes=0,
            img_size=spec["size"],
            in_chans=spec["channels"],
            patch_size=patch,
            num_blocks=_positive("architecture.depth", depth),
            embed_dim=_positive("architecture.width", width),
        )
        self.head = nn.Linear(width, spec["classes"])
        self.conv_layers = tuple(f"trunk.blocks.{i}" for i in range(depth))
        self.feature_layer = "trunk.head_drop"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, width)."""
        return self.trunk(self.normalise(images))


def _check_patch(size: int, patch: int) -> None:
    if size % _positive("architecture.patch", patch):
        raise GeedError(f"architecture.patch: expected a divisor of the image's side {size}, found {patch}")


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


class Augerino(Network):
    """A network with learned augmentations in front of it (`geed.models.augerino`), its features averaged over a few copies.

    Only the averaged features can be measured: what lies before them sees more images than there are.
    """

    def __init__(self, spec: dict[str, Any], *, network: dict[str, Any]):
        super().__init__()
        from geed.models.augerino import AffineMotions

        self.network = _make({**spec, "architecture": network})
        self.motions = AffineMotions()
        self.copies = nn.Identity()
        self.conv_layers = ()
        self.feature_layer = "copies"

    @property
    def head(self) -> nn.Linear:
        """The inner network's: linear, so that averaging features averages logits."""
        return self.network.head

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, D), the mean over copies."""
        from geed.models.augerino import averaged

        return self.copies(averaged(self.network.features, self.motions, images))

    def moved(self, images: Tensor, draws: Tensor) -> Tensor:
        """Logits (N, K) of images that are each moved by a draw (N, 6) of its own, as in training."""
        return self.network(self.motions(images, draws))


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


KINDS: dict[str, Callable[..., Network]] = {
    "plain_cnn": PlainCNN,
    "steerable_cnn": SteerableCNN,
    "perceptron": Perceptron,
    "tied_perceptron": TiedPerceptron,
    "vit": VisionTransformer,
    "mixer": Mixer,
    "pretrained": Published,
    "augerino": Augerino,
}


def build(spec: Mapping[str, Any], *names: object) -> Network:
    """A network in training mode, its initial weights drawn from the stream called `names` (the global one is left alone).

    Args:
        spec: `architecture` ({"kind": ..., its options}), `channels`, `size` (height = width), `classes`, and `mean` and
            `std` (one number per channel).
        names: the random stream, e.g. the study and the seed; the same names give networks of one architecture the same weights.

    Raises:
        GeedError: the specification lacks a key, or has an unknown kind or option, or a value that cannot be.
    """
    spec = dict(spec)
    expected = ("architecture", "channels", "size", "classes", "mean", "std")
    for key in expected:
        if key not in spec:
            raise GeedError(f"model specification: '{key}' is missing; expected: {', '.join(expected)}")
    for key in ("channels", "size", "classes"):
        _positive(key, spec[key])
    if not len(spec["mean"]) == len(spec["std"]) == spec["channels"]:
        raise GeedError(f"model specification: mean and std need one number for each of the {spec['channels']} channels")
    # layers draw from the global generator when they are made
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.seed_of(*names, "initialisation"))
        model = _make(spec)
    model.spec = spec
    return model


def _make(spec: dict[str, Any]) -> Network:
    """The network that a specification names, its weights drawn from the global stream."""
    options = dict(spec["architecture"])
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise GeedError(f"architecture.kind: unknown kind '{kind}'{nearest(kind, KINDS)}")
    _check_options(kind, options)
    return KINDS[kind](spec, **options)


def parameter_count(model: nn.Module) -> int:
    """The number of trainable scalars."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _check_options(kind: str, options: dict[str, Any]) -> None:
    """Refuse options that the network's constructor does not know, and name those that it lacks."""
    known = KINDS[kind].__init__.__kwdefaults__ or {}
    accepted = [name for name in KINDS[kind].__init__.__annotations__ if name not in ("spec", "return")]
    for name in options:
        if name not in accepted:
            raise GeedError(f"architecture.{name}: unknown option of {kind}{nearest(name, accepted)}")
    for name in accepted:
        if name not in options and name not in known:
            raise GeedError(f"architecture.{name}: {kind} needs it")


def _positive(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise GeedError(f"{key}: expected a positive whole number, found {value!r}")
    return value


def _widths(widths: Any) -> list[int]:
    if not isinstance(widths, list | tuple) or not widths:
        raise GeedError(f"architecture.widths: expected a list with one width per block, found {widths!r}")
    return [_positive("architecture.widths", width) for width in widths]


def _strides(stride: int | list[int], blocks: int) -> list[int]:
    """One stride per block: a single number is the second block's, the others keep the size."""
    strides = [stride if block == 1 else 1 for block in range(blocks)] if isinstance(stride, int) else list(stride)
    if len(strides) != blocks:
        raise GeedError(f"architecture.stride: expected one number, or one for each of the {blocks} blocks, found {stride!r}")
    return [_positive("architecture.stride", step) for step in strides]


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
