"""Direct products."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from geed.errors import GeedError
from geed.groups.base import Group

if TYPE_CHECKING:
    from torch import Tensor


class Product(Group):
    """G × H: element i·|H| + j acts like j of H, then i of G."""

    def __init__(self, first: Group, second: Group):
        self.first, self.second = first, second
        self.spec = f"{first.spec}*{second.spec}"
        self.exact = first.exact and second.exact
        self.grid = math.lcm(first.grid, second.grid)
        self.names = tuple(_join(a, b) for a in first.names for b in second.names)

    def compose(self, i: int, j: int) -> int:
        """The element that acts like j first, then i."""
        (a, b), (c, d) = divmod(i, self.second.order), divmod(j, self.second.order)
        return self.first.compose(a, c) * self.second.order + self.second.compose(b, d)

    def inverse(self, k: int) -> int:
        """The element that undoes k."""
        a, b = divmod(k, self.second.order)
        return self.first.inverse(a) * self.second.order + self.second.inverse(b)

    def linear_part(self, k: int) -> tuple[bool, Fraction | float]:
        """That of the first factor's element after that of the second's."""
        a, b = divmod(k, self.second.order)
        (reflected, turns), (reflected_first, turned_first) = self.first.linear_part(a), self.second.linear_part(b)
        return reflected != reflected_first, (turns + (-turned_first if reflected else turned_first)) % 1

    def check(self, height: int, width: int) -> None:
        """Raise GeedError if one of the factors does not act on height × width pixels."""
        self.first.check(height, width)
        self.second.check(height, width)

    def exact_on(self, height: int, width: int) -> bool:
        """Whether both factors permute the pixels."""
        return self.first.exact_on(height, width) and self.second.exact_on(height, width)

    def _act(self, k: int, images: Tensor) -> Tensor:
        a, b = divmod(k, self.second.order)
        return self.first._act(a, self.second._act(b, images))


def product(first: Group, second: Group) -> Group:
    """The direct product of two groups whose actions are exact and commute.

    Raises:
        GeedError: a factor interpolates or is sampled, or the actions do not commute (quarter turns and shifts along one axis,
            say: they generate a larger group, in which the product of their element counts is not a count of elements).

    >>> from geed.groups.finite import reflections, translations
    >>> product(reflections(), translations(y=2)).names
    ('identity', 'shift 1/2 down', 'reflection', 'reflection, shift 1/2 down')
    """
    import torch

    for group in (first, second):
        if not group.exact:
            raise GeedError(f"a product needs exact groups; {group.spec} interpolates or is sampled")
    side = math.lcm(first.grid, second.grid) * 3
    probe = torch.arange(side * side).reshape(side, side)
    for i in range(first.order):
        for j in range(second.order):
            if not torch.equal(first.act(i, second.act(j, probe)), second.act(j, first.act(i, probe))):
                raise GeedError(
                    f"{first.spec} and {second.spec} have no direct product: "
                    f"{first.names[i]} and {second.names[j]} do not commute"
                )
    return Product(first, second)


def _join(a: str, b: str) -> str:
    names = [name for name in (a, b) if name != "identity"]
    return ", ".join(names) or "identity"
