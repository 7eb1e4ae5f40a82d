"""Invariance of feature vectors: Eq 6 of Kvinge et al. 2022 with four distances, and relative invariance.

An orbit is laid out as (|G|, N, D), float64. Values are per image, (N,). Two zero vectors agree (cosine 1); a zero vector and
another do not (0).
"""

import torch
from torch import Tensor


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine over the last axis, with the convention above."""
    return (directions(a) * directions(b)).sum(dim=-1)


def directions(vectors: Tensor) -> Tensor:
    """Unit vectors (…, D + 1): the last coordinate is 1 for the zero vector, which thereby has a direction of its own."""
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    zero = (norm == 0).to(vectors.dtype)
    return torch.cat([vectors / (norm + zero), zero], dim=-1)


def eed_cosine(orbit: Tensor) -> Tensor:
    """Minus the mean over g of cos(f(gx), f̂(x)), f̂ the mean over the orbit (Eq 2): −1 = invariant."""
    return -_cosine(orbit, orbit.mean(dim=0)).mean(dim=0)


def eed_one_minus_cosine(orbit: Tensor) -> Tensor:
    """One minus the mean over g of cos(f(gx), f̂(x)): 0 = invariant."""
    return 1 + eed_cosine(orbit)


def eed_l2(orbit: Tensor) -> Tensor:
    """Mean over g of ‖f(gx) − f̂(x)‖: 0 = invariant. In the features' own units."""
    return torch.linalg.vector_norm(orbit - orbit.mean(dim=0), dim=-1).mean(dim=0)


class PairCosine:
    """Mean cosine over all pairs of distinct images, in memory of one vector: the M of `latent_eed/normalized_cosine`.

    Features of one network are often alike for all images (ReLU features have no negative coordinates), so a cosine near one says
    little; −cos/M is −1 where the orbit is as alike as two different images are, and far below where it is more so.
    """

    LEAST = 1e-3  # |M| below this: dividing by it would say nothing

    def __init__(self) -> None:
        self.n = 0
        self._sum: Tensor | float = 0.0
        self._own: Tensor | float = 0.0

    def add(self, reference: Tensor) -> None:
        """Add the features (N, D) of untransformed images."""
        units = directions(reference)
        self.n += len(units)
        self._sum = self._sum + units.sum(dim=0)
        self._own = self._own + units.square().sum()

    def mean(self) -> float:
        """M; NaN for fewer than two images."""
        if self.n < 2:
            return float("nan")
        return float((self._sum.square().sum() - self._own) / (self.n * (self.n - 1)))


class Relative:
    """Relative invariance ("grounding", Bouchacourt et al. 2021): 1 − d(Z, gZ) / d(Z, shuffled gZ).

    1 = invariant, 0 = as far as the features of a random other image; below 0 is farther still. The shuffled distance is the mean
    over *all* pairs of distinct images and all g but the identity, from sums alone. So that sums do, `l2` is the squared
    Euclidean distance: the value is one minus the ratio of variance within orbits to variance between images.
    """

    def __init__(self, distance: str):
        self.distance = distance
        self.n = 0
        self.elements = 0
        self._sums: list[Tensor | float] = [0.0, 0.0]
        self._squares: list[Tensor | float] = [0.0, 0.0]
        self._own: Tensor | float = 0.0

    def add(self, reference: Tensor, moved: Tensor) -> Tensor:
        """Add features (N, D) of images and (m, N, D) of their m transforms; their own mean distances (N,)."""
        if self.distance == "cosine":
            reference, moved = directions(reference), directions(moved)
        self.n += len(reference)
        self.elements = len(moved)
        dots = (reference * moved).sum(dim=-1)
        for i, part in enumerate((reference[None], moved)):
            self._sums[i] = self._sums[i] + part.sum(dim=(0, 1))
            self._squares[i] = self._squares[i] + part.square().sum()
        self._own = self._own + dots.sum()
        if self.distance == "cosine":
            return 1 - dots.mean(dim=0)
        return (reference - moved).square().sum(dim=-1).mean(dim=0)

    def null(self) -> float:
        """The mean distance of unrelated pairs; NaN for fewer than two images, 0 where all features are alike to rounding."""
        if self.n < 2 or self.elements == 0:
            return float("nan")
        spread = float(self._squares[0]) / self.n + float(self._squares[1]) / (self.n * self.elements)
        cross = float((self._sums[0] * self._sums[1]).sum() - self._own) / (self.n * (self.n - 1) * self.elements)
        distance = spread - 2 * cross
        distance = distance / 2 if self.distance == "cosine" else distance
        return distance if distance > 1e-12 * spread else 0.0
