"""Networks from plain specifications: images in [0, 1] in, logits out, normalisation inside."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from geed import seeds
from geed.errors import GeedError, nearest
from geed.models.convolutional import PlainCNN, SteerableCNN
from geed.models.network import Network, positive
from geed.models.perceptron import Perceptron, TiedPerceptron
from geed.models.tokens import Mixer, VisionTransformer
from geed.models.trunk import Published


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
        positive(key, spec[key])
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
