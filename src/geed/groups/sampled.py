"""One-parameter groups that are infinite: a fixed, logged sample of them.

The draws are made once, by a generator named after the group, and kept in `parameters`; input and output see the same ones.
Element 0 is the identity, for reference; averages run over the n drawn elements only. Bias: a deviation from a centroid
that was computed from the same n draws is too low, by (n − 1)/n for squared L2 and the Jensen–Shannon divergence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geed import seeds
from geed.errors import GeedError
from geed.groups.base import Group
from geed.groups.finite import _check_count
from geed.groups.resample import disc, rotate, shift

if TYPE_CHECKING:
    from torch import Tensor


class Sampled(Group):
    """The identity and n draws. Samples are not closed: `compose` and `inverse` raise.

    Attributes:
        parameters: one number per element, 0 for the identity: radians, or the fraction of the width.
    """

    exact = False
    unit: str

    def __init__(self, kind: str, n: int, seed: int):
        _check_count(kind, "n", n)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise GeedError(f"group {kind}: seed must be an integer; found {seed!r}")
        self.spec = f"{kind}:n={n},seed={seed}"
        draws = seeds.rng(kind, n, seed).random(n)
        self.parameters = (0.0, *(self._parameter(float(draw)) for draw in draws))
        self.names = ("identity", *(self._name(parameter) for parameter in self.parameters[1:]))

    @property
    def averaged(self) -> range:
        """The drawn elements."""
        return range(1, self.order)

    def _parameter(self, draw: float) -> float:
        raise NotImplementedError

    def _name(self, parameter: float) -> str:
        raise NotImplementedError

    def compose(self, i: int, j: int) -> int:
        """Not defined on a sample; raises GeedError."""
        raise GeedError(f"{self.spec} is a sample of an infinite group: the product of two draws is not among them")

    def inverse(self, k: int) -> int:
        """Not defined on a sample; raises GeedError."""
        raise GeedError(f"{self.spec} is a sample of an infinite group: the inverse of a draw is not among them")


class SampledRotations(Sampled):
    """Draws of SO(2)."""

    def _parameter(self, draw: float) -> float:
        return 2 * math.pi * draw

    def _name(self, parameter: float) -> str:
        return f"rotation {math.degrees(parameter):.3f}°"

    def linear_part(self, k: int) -> tuple[bool, float]:
        """(never reflected, turns)."""
        return False, self.parameters[k] / (2 * math.pi)

    def check(self, height: int, width: int) -> None:
        """Raise GeedError unless height × width is square."""
        if height != width:
            raise GeedError(f"group {self.spec} turns images, so they must be square; found {height}×{width} pixels")

    def _act(self, k: int, images: Tensor) -> Tensor:
        if k == 0:
            return images * disc(images.shape[-1], images.device, images.dtype)
        return rotate(images, self.parameters[k])


class SampledTranslations(Sampled):
    """Draws of the cyclic translations along the width."""

    def _parameter(self, draw: float) -> float:
        return draw

    def _name(self, parameter: float) -> str:
        return f"shift {parameter:.4f} right"

    def linear_part(self, k: int) -> tuple[bool, float]:
        """Nothing: a shift keeps directions."""
        return False, 0.0

    def _act(self, k: int, images: Tensor) -> Tensor:
        return shift(images, self.parameters[k] * images.shape[-1], -1)


def sampled_rotations(n: int, seed: int = 0) -> Group:
    """The identity and n uniform draws of SO(2), acting as in `rotations`: bicubic, inside the inscribed disc.

    Raises:
        GeedError: n is not a positive integer, or seed not an integer.
    """
    return SampledRotations("sampled_rotations", n, seed)


def sampled_translations(n: int, seed: int = 0) -> Group:
    """The identity and n uniform draws of cyclic translations along the width, Fourier interpolated.

    Raises:
        GeedError: n is not a positive integer, or seed not an integer.
    """
    return SampledTranslations("sampled_translations", n, seed)
