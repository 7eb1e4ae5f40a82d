"""What every group offers: indexed elements, their products, and their action on the last two axes of a tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from geed.errors import GeedError

if TYPE_CHECKING:
    from torch import Tensor


class Group(ABC):
    """A finite group G (or a finite sample of an infinite one) acting on images.

    Elements are the indices 0 … order − 1, and 0 is the identity. The action is a left action,
    ``act(i, act(j, x)) == act(compose(i, j), x)``, on the last two axes of x, so images and feature maps are alike to it.

    Attributes:
        spec: the string that `parse` turns back into this group; the `group` column of every table.
        names: one readable name per element.
        exact: the action permutes pixels: no interpolation, nothing lost. False where it must interpolate, and then everything
            happens inside the disc or on the grid that the group's constructor describes.
        averaged: the elements over which a measurement averages: all of them, but for sampled groups, whose identity is there
            for reference and was not drawn.
    """

    spec: str
    names: tuple[str, ...]
    exact: bool = True
    grid: int = 1  # the action is exact on a square of any side that is a multiple of this

    @property
    def order(self) -> int:
        """The number of elements."""
        return len(self.names)

    @property
    def averaged(self) -> range:
        """The elements that averages run over."""
        return range(self.order)

    @abstractmethod
    def compose(self, i: int, j: int) -> int:
        """The element that acts like j first, then i."""

    @abstractmethod
    def inverse(self, k: int) -> int:
        """The element that undoes k."""

    @abstractmethod
    def linear_part(self, k: int) -> tuple[bool, Fraction | float]:
        """What element k does to directions: whether it reflects left to right, and by how much of a turn it turns after that."""

    @abstractmethod
    def _act(self, k: int, images: Tensor) -> Tensor:
        """`act` without the checks."""

    def act(self, k: int, images: Tensor) -> Tensor:
        """Element k applied to a tensor (..., H, W); the result has the same shape, type and device.

        Raises:
            GeedError: there is no element k, or the group does not act on H × W pixels.
        """
        self._check_element(k)
        if images.ndim < 2:
            raise GeedError(f"group {self.spec} acts on the last two axes (H, W); found a tensor of shape {tuple(images.shape)}")
        self.check(*images.shape[-2:])
        return self._act(k, images)

    def check(self, height: int, width: int) -> None:  # noqa: B027 (most groups act on any size)
        """Raise GeedError if the group does not act on height × width pixels."""

    def exact_on(self, height: int, width: int) -> bool:
        """Whether the action on height × width pixels is a permutation of them."""
        return self.exact

    def kernel(self, action: Callable[[int, Tensor], Tensor], probe: Tensor) -> tuple[int, ...]:
        """The elements that a linear action maps to the identity: ker(G → GL(Y)), the subgroup of Eq 2 of Kvinge et al. 2022.

        Args:
            action: (k, y) → k·y, a linear action of this group on the space of `probe`, which must be in general position
                (random numbers are).
            probe: a tensor of Y, floating point; any shape.

        Returns:
            the elements in increasing order, the identity first.

        Raises:
            GeedError: `action` changes the shape, or is not a homomorphism.
        """
        import torch

        tolerance = 1e3 * torch.finfo(probe.dtype).eps * max(1.0, float(probe.abs().max()))
        moved = [action(k, probe) for k in range(self.order)]
        for k, value in enumerate(moved):
            if value.shape != probe.shape:
                raise GeedError(
                    f"the action of {self.names[k]} ({self.spec}) must keep the shape {tuple(probe.shape)}; "
                    f"found {tuple(value.shape)}"
                )

        def same(a: Tensor, b: Tensor) -> bool:
            return bool((a - b).abs().max() <= tolerance)

        for i in range(self.order):
            for j in range(self.order):
                if not same(action(i, moved[j]), moved[self.compose(i, j)]):
                    raise GeedError(
                        f"the action is not one of {self.spec}: {self.names[i]} after {self.names[j]} "
                        f"differs from {self.names[self.compose(i, j)]}"
                    )
        return tuple(k for k in range(self.order) if same(moved[k], probe))

    def _check_element(self, k: int) -> None:
        if not 0 <= k < self.order:
            raise GeedError(f"group {self.spec} has elements 0 to {self.order - 1}; found {k}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec!r}, order={self.order}, exact={self.exact})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)
