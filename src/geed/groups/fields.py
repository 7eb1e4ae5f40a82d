"""The action on declared field types: how the channels of a steerable layer are mixed when its input is transformed.

A steerable feature map is a field over the plane: g moves its pixels and multiplies the channels at each pixel by a matrix
ρ(g) (Weiler and Cesa 2019, "General E(2)-equivariant steerable CNNs"). Charging such a layer for the channels (Eq 5 of
Kvinge et al. 2022 on raw channels) makes an exactly equivariant network look deviant.

e2cnn is not imported: a field type is read through its own attributes.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geed.errors import GeedError
from geed.groups.base import Group


@dataclass(frozen=True)
class Fibre:
    """ρ(g) on C channels: a permutation, `(ρ y)[c] = y[index[c]]`, or else a matrix (C, C)."""

    index: Tensor | None
    matrix: Tensor | None

    @property
    def is_identity(self) -> bool:
        """Whether ρ(g) leaves every channel where it is."""
        return self.index is not None and torch.equal(self.index, torch.arange(len(self.index)))

    def act(self, maps: Tensor) -> Tensor:
        """ρ(g) applied to the channels of (N, C, …)."""
        if self.index is not None:
            return maps.index_select(1, self.index.to(maps.device))
        return torch.einsum("dc,nc...->nd...", self.matrix.to(maps.device, maps.dtype), maps)


def fibres(group: Group, field_type: Any) -> list[Fibre]:
    """ρ(g) for every element of `group`, in its order, under an e2cnn `FieldType`.

    The layer's symmetry group may be larger than `group`; translations act on pixels only, so any layer has them.

    Raises:
        GeedError: the layer's symmetries do not contain `group`.
    """
    elements = [_element(*group.linear_part(k), field_type.gspace, group) for k in range(group.order)]
    return [_fibre(field_type, element) for element in elements]


def _element(reflected: bool, turns: Fraction | float, gspace: Any, group: Group) -> Any:
    """The element of an e2cnn gspace that reflects left to right (or not) and then turns."""
    kind = type(gspace).__name__
    if kind == "TrivialOnR2" and not reflected and turns == 0:
        return 0
    if kind == "Rot2dOnR2" and not reflected:
        step = _step(turns, gspace.fibergroup.order())
        if step is not None:
            return step
    if kind in ("Flip2dOnR2", "FlipRot2dOnR2"):
        rotations = gspace.fibergroup.rotation_order if kind == "FlipRot2dOnR2" else 1
        # e2cnn's reflection is about an axis of its own choice: ours after a turn of 2·axis − 180°.
        offset = gspace.axis / math.pi - 0.5 if reflected else 0.0
        step = _step(turns - Fraction(round(offset * 720), 720), rotations)
        if step is not None:
            return (int(reflected), step) if kind == "FlipRot2dOnR2" else int(reflected)
    raise GeedError(f"the layer's symmetries are those of e2cnn's {gspace.name}, which do not contain the group {group.spec}")


def _step(turns: Fraction | float, rotations: int) -> int | float | None:
    """The rotation of e2cnn's group by so many turns: a step of a finite one, an angle of SO(2), None if it has no such one."""
    if rotations < 1:
        return float(turns % 1) * 2 * math.pi
    step = turns * rotations
    return round(step) % rotations if abs(step - round(step)) < 1e-9 else None


def _fibre(field_type: Any, element: Any) -> Fibre:
    blocks = {r.name: np.asarray(r(element)) for r in field_type.representations}
    if all(_is_permutation(block) for block in blocks.values()):
        starts = np.cumsum([0, *(r.size for r in field_type.representations)])
        index = [start + blocks[r.name].argmax(axis=1) for start, r in zip(starts, field_type.representations, strict=False)]
        return Fibre(torch.from_numpy(np.concatenate(index)), None)
    matrix = torch.block_diag(*(torch.from_numpy(blocks[r.name]) for r in field_type.representations))
    return Fibre(None, matrix)


def _is_permutation(matrix: np.ndarray) -> bool:
    rounded = np.round(matrix)
    return bool(
        np.abs(matrix - rounded).max() < 1e-6
        and (rounded >= 0).all()
        and (rounded.sum(axis=0) == 1).all()
        and (rounded.sum(axis=1) == 1).all()
    )
