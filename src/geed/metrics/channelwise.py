"""Channelwise equivariance of feature maps: Eq 5 of Kvinge et al. 2022, its field-aware form, and feature correlation.

All compare f(gx) with g·f(x), channel by channel, over an orbit that is laid out as (|G|, N, C, H, W), element 0 (the identity)
first. They share three reductions of each map, in the map's own precision; what is accumulated is float64.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geed.groups.base import Group
from geed.groups.fields import Fibre


def measure(maps: Tensor, group: Group, metrics: Collection[str], fibres: Sequence[Fibre] | None = None) -> dict[str, Tensor]:
    """Values per image of the metrics asked for, each (N,), float64; NaN where a map holds NaN or infinity.

    * ``channel_eed`` (Eq 5): minus the mean over channels of cos(f(gx)_i, g f(x)_i), channels as vectors of H·W numbers; the
      action moves pixels only. −1 means equivariant.
    * ``field_eed``: the same with the layer's own action, which also mixes channels: cos(f(gx)_i, (ρ(g) g f(x))_i).
    * ``feature_correlation`` (Bruintjes et al. 2023): the mean over channels of the Pearson correlation of the same pairs.
      1 means equivariant up to an offset and a positive factor per channel.

    All are means over the averaged elements of the group. Two empty channels agree (cosine 1), an empty and another do not (0);
    likewise two constant channels for the correlation. Where the group resamples, only what it keeps (a disc) is compared.

    Args:
        maps: (|G|, N, C, H, W), floating point: the layer's output for every element.
        group: acts on H × W.
        metrics: of the three names above.
        fibres: ρ(g) of every element; None = channels are not mixed, and ``field_eed`` equals ``channel_eed``.
    """
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    exact = group.exact_on(*maps.shape[-2:])
    pixels = maps[0, 0, 0].numel() if exact else float(group.act(0, torch.ones(maps.shape[-2:], dtype=torch.float64)).sum())
    centred = "feature_correlation" in metrics
    mixed = fibres is not None and "field_eed" in metrics

    left = _side(group.act(0, maps), pixels, centred, group)
    reference = left.at(0)
    plain, correlated, field = [], [], []
    for k in group.averaged:
        here = left.at(k)
        if exact:
            there = _Side(group.act(k, reference.values), reference.norm, reference.mean)
        else:
            there = _side(group.act(k, maps[0]), pixels, centred, group)
        dot = _dot(here, there)
        if "channel_eed" in metrics or ("field_eed" in metrics and not mixed):
            plain.append(_cosine(dot, here, there, pixels))
        if centred:
            correlated.append(_correlation(dot, here, there, pixels))
        if mixed:
            if fibres[k].is_identity:
                field.append(_cosine(dot, here, there, pixels))
            else:
                there = there.mixed(fibres[k])
                field.append(_cosine(_dot(here, there), here, there, pixels))
    values = {"channel_eed": plain, "field_eed": field if mixed else plain, "feature_correlation": correlated}
    signs = {"channel_eed": -1, "field_eed": -1, "feature_correlation": 1}
    return {name: signs[name] * torch.stack(values[name]).mean(dim=(0, 2)) for name in metrics}


@dataclass(frozen=True)
class _Side:
    """One side of the comparison: maps (…, C, H, W), their norms and, if they were centred, the means taken away (…, C)."""

    values: Tensor
    norm: Tensor
    mean: Tensor | None

    def at(self, k: int) -> "_Side":
        return _Side(self.values[k], self.norm[k], None if self.mean is None else self.mean[k])

    def mixed(self, fibre: Fibre) -> "_Side":
        values = fibre.act(self.values)
        norm = fibre.act(self.norm) if fibre.index is not None else torch.linalg.vector_norm(values, dim=(-2, -1))
        return _Side(values, norm, None if self.mean is None else fibre.act(self.mean))


def _side(maps: Tensor, pixels: float, centred: bool, group: Group) -> _Side:
    mean = None
    if centred:
        mean = maps.sum(dim=(-2, -1)) / pixels
        maps = group.act(0, maps - mean[..., None, None])
    return _Side(maps, torch.linalg.vector_norm(maps, dim=(-2, -1)), mean)


def _dot(a: _Side, b: _Side) -> Tensor:
    return (a.values * b.values).sum(dim=(-2, -1))


def _cosine(dot: Tensor, a: _Side, b: _Side, pixels: float) -> Tensor:
    """Cosines of the uncentred maps, (N, C) float64, from the products of centred ones where they are centred."""
    dot, a_norm, b_norm = dot.double(), a.norm.double(), b.norm.double()
    if a.mean is not None:
        a_mean, b_mean = a.mean.double(), b.mean.double()
        dot = dot + pixels * a_mean * b_mean
        a_norm, b_norm = (a_norm.square() + pixels * a_mean.square()).sqrt(), (b_norm.square() + pixels * b_mean.square()).sqrt()
    return _ratio(dot, a_norm, b_norm)


def _correlation(dot: Tensor, a: _Side, b: _Side, pixels: float) -> Tensor:
    # What centring leaves of a constant channel is rounding.
    noise = 16 * torch.finfo(dot.dtype).eps * pixels**0.5
    a_norm, b_norm = (torch.where(side.norm <= noise * side.mean.abs(), 0, side.norm).double() for side in (a, b))
    return _ratio(dot.double(), a_norm, b_norm)


def _ratio(dot: Tensor, a_norm: Tensor, b_norm: Tensor) -> Tensor:
    """Cosines dot / (|a| |b|) in [−1, 1]: 1 where both are zero, 0 where one is, NaN where one is not finite."""
    product = a_norm * b_norm
    cosine = torch.where(product > 0, dot / product, ((a_norm == 0) & (b_norm == 0)).to(dot.dtype)).clamp(-1, 1)
    return torch.where(torch.isfinite(product), cosine, torch.nan)
