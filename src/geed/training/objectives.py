"""What a network is trained to do: label prediction, with or without a price on not being invariant, or agreement between views.

Sources: NT-Xent, Chen et al. 2020 (SimCLR, arXiv 2002.05709, Eq 1); VICReg, Bardes et al. 2022 (arXiv 2105.04906, Eqs 1-6);
the invariance regulariser, Moskalev et al. 2023 ("On genuine invariance learning without weight-tying", PMLR 221); REMUL, Elhag
et al. 2024 (arXiv 2410.17878), its adaptive form by GradNorm, Chen et al. 2018 (arXiv 1711.02257); Augerino, Benton et al. 2020
(arXiv 2010.11882); prediction of rotations, Gidaris et al. 2018 (arXiv 1803.07728).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geed import groups, seeds
from geed.errors import GeedError, nearest
from geed.models.network import Network
from geed.training.augmentation import act_each
from geed.training.names import OBJECTIVES, OPTIONS, SELF_SUPERVISED


class Objective(nn.Module):
    """A loss, with what it needs to learn beside the network.

    Attributes:
        views: how many augmented versions of each batch it takes.
        partner: the group, where it takes one more version: the first, moved by a random element.
        supervised: whether it reads labels, and so trains the head.
    """

    views = 1
    partner: "groups.Group | None" = None
    supervised = False

    def __init__(self, features: int):
        super().__init__()

    def begin(self, *names: object) -> None:
        """Start an epoch; what the objective draws in it comes from the stream of these names."""

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, and the logits (N, K) where the network's head was used.

        Args:
            model: the network in training mode.
            views: augmented images, (V·N, C, H, W), view after view, the partner last.
            labels: (N,).
        """
        raise NotImplementedError


class Supervised(Objective):
    """Cross-entropy."""

    supervised = True

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        logits = model(views)
        return F.cross_entropy(logits, labels), logits


class Invariance(Objective):
    """Cross-entropy + weight · I, where I compares the logits of x and of gx (Moskalev et al. 2023).

    x is the augmented image, g uniform over the group (the identity included), both drawn anew for every image and step; the
    gradient of I flows through both.
    """

    supervised = True

    def __init__(self, features: int, *, group: str, distance: str, weight: float):
        super().__init__(features)
        if distance not in DISTANCES:
            raise GeedError(f"objective.distance: unknown distance '{distance}'{nearest(distance, DISTANCES)}")
        self.partner, self.distance, self.weight = groups.parse(group), DISTANCES[distance], weight

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        logits, moved = model(views).chunk(2)
        return F.cross_entropy(logits, labels) + self.weight * self.distance(logits, moved), logits


class Remul(Objective):
    """α · cross-entropy + β · ‖f(x) − f(gx)‖², g drawn anew for every image and step; outputs are not moved by the group.

    Constant: α = 1 and β = `weight`. Adaptive: they start there, and GradNorm moves them after every step, their sum kept: with
    G_i the norm of the gradient of the i-th weighted loss in the head's weights, L_i its loss relative to the first step's, and
    r_i = L_i / mean L, each weight goes down the gradient of sum |G_i - mean(G) r_i^ASYMMETRY|, the target held fixed.
    """

    ASYMMETRY, RATE = 0.12, 0.025
    supervised = True

    def __init__(self, features: int, *, group: str, weight: float, adaptive: bool):
        super().__init__(features)
        self.partner, self.adaptive = groups.parse(group), adaptive
        self.register_buffer("weights", torch.tensor([1.0, weight]))
        self.register_buffer("first", torch.zeros(2))

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        logits, moved = model(views).chunk(2)
        losses = torch.stack([F.cross_entropy(logits, labels), 2 * logit_distance(logits, moved)])
        loss = (self.weights.clone() * losses).sum()
        if self.adaptive:
            gradients = [torch.autograd.grad(part, model.head.weight, retain_graph=True)[0].norm() for part in losses]
            self._balance(losses.detach(), torch.stack(gradients))
        return loss, logits

    def _balance(self, losses: Tensor, gradients: Tensor) -> None:
        """One step of GradNorm; losses and norms of their unweighted gradients, (2,)."""
        if not self.first.any():
            self.first.copy_(losses.clamp_min(1e-8))
        relative = losses / self.first
        norms = self.weights * gradients
        target = norms.mean() * (relative / relative.mean()).pow(self.ASYMMETRY)
        total = self.weights.sum()
        changed = (self.weights - self.RATE * torch.sign(norms - target) * gradients).clamp_min(1e-3)
        self.weights.copy_(changed * total / changed.sum())


class Augerino(Objective):
    """Cross-entropy − weight · ‖widths‖₂ for a network that learns its augmentations; no reward once a width reaches 10."""

    supervised = True

    def __init__(self, features: int, *, weight: float):
        super().__init__(features)
        self.weight = weight

    def begin(self, *names: object) -> None:
        """See `Objective`."""
        self._stream = seeds.generator(*names, "augerino")

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        draws = 2 * torch.rand((len(views), 6), generator=self._stream) - 1
        logits, widths = model.moved(views, draws.to(views)), model.motions.widths()
        reward = self.weight * widths.norm() * (widths < 10).all()
        return F.cross_entropy(logits, labels) - reward, logits


def logit_distance(logits: Tensor, moved: Tensor) -> Tensor:
    """LI: ½‖f(x) − f(gx)‖², mean over images; both (N, K)."""
    return 0.5 * (logits - moved).square().sum(1).mean()


def kl_distance(logits: Tensor, moved: Tensor) -> Tensor:
    """DI: KL(softmax f(x) ‖ softmax f(gx)), mean over images; both (N, K)."""
    return F.kl_div(moved.log_softmax(1), logits.log_softmax(1), reduction="batchmean", log_target=True)


def normalized_distance(logits: Tensor, moved: Tensor) -> Tensor:
    """½‖f(x) − f(gx)‖² / (‖f(x)‖ ‖f(gx)‖), mean over images, the denominator not differentiated.

    With unit vectors that are differentiated, the gradient is orthogonal to the logits, and a network lowers the distance by
    letting them grow without end; see docs/differences.md.
    """
    norms = (logits.norm(dim=1) * moved.norm(dim=1)).detach().clamp_min(torch.finfo(logits.dtype).tiny)
    return (0.5 * (logits - moved).square().sum(1) / norms).mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "logit": logit_distance,
    "kl": kl_distance,
    "normalized_l2": normalized_distance,
}


class Contrastive(Objective):
    """NT-Xent on a projection of the features."""

    views = 2

    def __init__(self, features: int, *, temperature: float = 0.2):
        super().__init__(features)
        self.temperature = temperature
        self.projector = _projector(features)

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """See `Objective`; labels are not read."""
        first, second = self.projector(model.features(views)).chunk(2)
        return nt_xent(first, second, self.temperature), None


class VICReg(Objective):
    """Variance-invariance-covariance regularisation on an expansion of the features: not contrastive, no negative pairs.

    The published weights, 25, 25 and 1, are for 8192 dimensions. With the hundred of a small network the covariance term, a sum
    over pairs of dimensions, is too weak; these weights were chosen by the probe's validation accuracy.
    """

    views = 2

    def __init__(self, features: int, *, invariance: float = 10.0, variance: float = 25.0, covariance: float = 4.0):
        super().__init__(features)
        self.weights = (invariance, variance, covariance)
        self.projector = _projector(features)

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """See `Objective`; labels are not read."""
        first, second = self.projector(model.features(views)).chunk(2)
        return vicreg(first, second, *self.weights), None


class RotationPrediction(Objective):
    """Which quarter turn an image was given, told from its features (Gidaris et al. 2018).

    Every image is given one, drawn anew for every step, where the paper shows all four turns of it at once.
    """

    def __init__(self, features: int):
        super().__init__(features)
        self.turns = groups.rotations(4)
        self.classifier = nn.Linear(features, self.turns.order)

    def begin(self, *names: object) -> None:
        """See `Objective`."""
        self._stream = seeds.generator(*names, "turns")

    def forward(self, model: Network, views: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """See `Objective`; labels are not read."""
        turns = torch.randint(self.turns.order, (len(views),), generator=self._stream)
        answers = self.classifier(model.features(act_each(self.turns, turns, views)))
        return F.cross_entropy(answers, turns.to(answers.device)), None


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy: each view must find its partner among the other 2N - 1 (SimCLR, Eq 1).

    Args:
        first: embeddings of one view, (N, D).
        second: embeddings of the other, row by row the same images.
        temperature: divisor of the cosine similarities.
    """
    embeddings = F.normalize(torch.cat([first, second]))
    similarity = embeddings @ embeddings.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(similarity), dtype=torch.bool, device=similarity.device), -torch.inf)
    partner = torch.arange(len(similarity), device=similarity.device).roll(len(first))
    return F.cross_entropy(similarity, partner)


def vicreg(first: Tensor, second: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Tensor:
    """Mean squared distance of the views, a hinge on each dimension's deviation, and squared covariances (VICReg, Eqs 1-6).

    Args:
        first: embeddings of one view, (N, D), N >= 2.
        second: embeddings of the other, row by row the same images.
        invariance: weight of the distance between the views (lambda).
        variance: weight of the hinge that keeps standard deviations above 1 (mu).
        covariance: weight of the off-diagonal covariances (nu).
    """
    loss = invariance * F.mse_loss(first, second)
    for z in (first, second):
        deviation = (z.var(dim=0) + 1e-4).sqrt()
        # the authors' code halves the sum of the two hinges, their Eq 6 does not; this is Eq 6
        loss = loss + variance * F.relu(1 - deviation).mean()
        centred = z - z.mean(dim=0)
        matrix = centred.T @ centred / (len(z) - 1)
        loss = loss + covariance * (matrix.square().sum() - matrix.diagonal().square().sum()) / z.shape[1]
    return loss


def _projector(features: int) -> nn.Sequential:
    """Where views are compared, so that the features may keep what the comparison discards; four times as wide, as VICReg's."""
    wide = 4 * features
    return nn.Sequential(nn.Linear(features, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Linear(wide, wide))


_KINDS: dict[str, Any] = {
    "supervised": Supervised,
    "contrastive": Contrastive,
    "vicreg": VICReg,
    "rotation_prediction": RotationPrediction,
    "invariance": Invariance,
    "remul": Remul,
    "augerino": Augerino,
}


def make(objective: str | Mapping[str, Any], model: Network, *names: object) -> Objective:
    """The objective of a run, its own layers drawn from the stream called `names`.

    Args:
        objective: a name, or a mapping with `kind` and the options of that objective.
        model: the network that it will train.
        names: the random stream.

    Raises:
        GeedError: unknown objective or option.
    """
    options = {"kind": objective} if isinstance(objective, str) else dict(objective)
    kind = options.pop("kind", None)
    if kind not in _KINDS:
        raise GeedError(f"objective: unknown objective '{kind}'{nearest(kind, (*OBJECTIVES, *OPTIONS))}")
    known = {name: p for name, p in inspect.signature(_KINDS[kind]).parameters.items() if p.kind is p.KEYWORD_ONLY}
    for option in options:
        if option not in known:
            raise GeedError(f"objective.{option}: unknown option of {kind}{nearest(option, known)}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise GeedError(f"objective.{option}: {kind} needs it")
    if kind in SELF_SUPERVISED and not isinstance(model.head, nn.Linear):
        raise GeedError(f"objective: {kind} fits a linear classifier in the end; this network's is a {type(model.head).__name__}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.seed_of(*names, "objective", kind))
        return _KINDS[kind](getattr(model.head, "in_features", 0), **options)
