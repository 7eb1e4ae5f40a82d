"""Finite groups of the plane: rotations, reflections, both, and cyclic translations."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from geed.errors import GeedError
from geed.groups.base import Group
from geed.groups.resample import disc, rotate, shift

if TYPE_CHECKING:
    from torch import Tensor


class Dihedral(Group):
    """C_n or, if `reflected`, D_n: element k + n·e reflects left to right if e is 1, then turns by k·360°/n counterclockwise."""

    def __init__(self, steps: int, reflected: bool, spec: str):
        self.steps, self.reflected, self.spec = steps, reflected, spec
        self.exact = steps in (1, 2, 4)
        turns = ["identity", *(f"rotation {360 * k / steps:g}°" for k in range(1, steps))]
        self.names = tuple(turns)
        if reflected:
            self.names += ("reflection", *(f"reflection then {turn}" for turn in turns[1:]))

    def compose(self, i: int, j: int) -> int:
        """The element that acts like j first, then i."""
        (e, k), (f, m) = divmod(i, self.steps), divmod(j, self.steps)
        return (k + (-m if e else m)) % self.steps + self.steps * (e ^ f)

    def inverse(self, k: int) -> int:
        """The element that undoes k; every reflection undoes itself."""
        return k if k >= self.steps else -k % self.steps

    def linear_part(self, k: int) -> tuple[bool, Fraction]:
        """(reflected?, turns)."""
        reflect, step = divmod(k, self.steps)
        return bool(reflect), Fraction(step, self.steps)

    def check(self, height: int, width: int) -> None:
        """Raise GeedError if a rotation other than by 180° meets a height × width that is not square."""
        if self.steps > 2 and height != width:
            raise GeedError(f"group {self.spec} turns images, so they must be square; found {height}×{width} pixels")

    def _act(self, k: int, images: Tensor) -> Tensor:
        reflect, step = divmod(k, self.steps)
        if not self.exact:
            images = images.flip(-1) if reflect else images
            if step == 0:
                return images * disc(images.shape[-1], images.device, images.dtype)
            return rotate(images, 2 * math.pi * step / self.steps)
        # One copy, whatever the element: flips and the transpose are combined before anything is moved.
        quarters = step * 4 // self.steps
        if not reflect:
            return images.rot90(quarters, dims=(-2, -1)) if quarters else images
        if quarters % 2 == 0:
            return images.flip(-2 if quarters else -1)
        mirrored = images.transpose(-2, -1)
        return mirrored.contiguous() if quarters == 1 else mirrored.flip((-2, -1))


class Translations(Group):
    """Z_x × Z_y: element a·y + b shifts right by a/x of the width and down by b/y of the height, cyclically."""

    def __init__(self, x: int, y: int, spec: str):
        self.x, self.y, self.spec = x, y, spec
        self.grid = math.lcm(x, y)
        named = [
            " and ".join(f"{part}/{whole} {way}" for part, whole, way in ((a, x, "right"), (b, y, "down")) if part)
            for a in range(x)
            for b in range(y)
        ]
        self.names = tuple(f"shift {name}" if name else "identity" for name in named)

    def compose(self, i: int, j: int) -> int:
        """The sum of two shifts."""
        (a, b), (c, d) = divmod(i, self.y), divmod(j, self.y)
        return (a + c) % self.x * self.y + (b + d) % self.y

    def inverse(self, k: int) -> int:
        """The opposite shift."""
        a, b = divmod(k, self.y)
        return -a % self.x * self.y + -b % self.y

    def linear_part(self, k: int) -> tuple[bool, Fraction]:
        """Nothing: a shift keeps directions."""
        return False, Fraction(0)

    def exact_on(self, height: int, width: int) -> bool:
        """Whether every shift is a whole number of pixels; elsewhere shifts are Fourier interpolated."""
        return width % self.x == 0 and height % self.y == 0

    def _act(self, k: int, images: Tensor) -> Tensor:
        a, b = divmod(k, self.y)
        height, width = images.shape[-2:]
        return shift(shift(images, width * a / self.x, -1), height * b / self.y, -2)


def trivial() -> Group:
    """The group of one element."""
    return Dihedral(1, False, "trivial")


def rotations(n: int) -> Group:
    """C_n: counterclockwise rotations by multiples of 360°/n.

    Exact (`rot90`) for n of 1, 2 and 4. Other angles are interpolated, bicubic, inside the inscribed disc, and pixels outside
    it are set to zero by every element, the identity included; quarter turns among them still permute pixels.

    Raises:
        GeedError: n is not a positive integer.

    >>> rotations(4).names
    ('identity', 'rotation 90°', 'rotation 180°', 'rotation 270°')
    """
    _check_count("rotations", "n", n)
    return Dihedral(n, False, f"rotations:{n}")


def reflections() -> Group:
    """The identity and the left-right reflection (columns in reverse order): exact."""
    return Dihedral(1, True, "reflections")


def dihedral(n: int) -> Group:
    """D_n: the rotations of `rotations(n)`, each also after the left-right reflection; 2n elements.

    Raises:
        GeedError: n is not a positive integer.
    """
    _check_count("dihedral", "n", n)
    return Dihedral(n, True, f"dihedral:{n}")


def translations(x: int = 1, y: int = 1) -> Group:
    """Z_x × Z_y: cyclic shifts by multiples of width/x to the right and height/y downwards.

    Exact where width and height are divisible (`exact_on`). Elsewhere, as on the smaller maps of deep layers, a shift by a
    fraction of a pixel is Fourier interpolated: exact for band-limited maps only.

    Raises:
        GeedError: x or y is not a positive integer.

    >>> translations(x=3).names
    ('identity', 'shift 1/3 right', 'shift 2/3 right')
    """
    _check_count("translations", "x", x)
    _check_count("translations", "y", y)
    parts = [f"{axis}={count}" for axis, count in (("x", x), ("y", y)) if count > 1] or ["x=1"]
    return Translations(x, y, "translations:" + ",".join(parts))


def _check_count(group: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GeedError(f"group {group}: {name} must be a positive integer; found {value!r}")
