"""Channelwise equivariance of feature maps: Eq 5 of Kvinge et al. 2022, its field-aware form, and feature correlation.

All compare f(gx) with g·f(x), channel by channel, over an orbit that is laid out as (|G|, N, C, H, W), element 0 (the identity)
first. They share one set of reductions of the maps, in the maps' own precision; averages are float64.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geed.groups.base import Group
from geed.groups.fields import Fibre

# Two sizes for CPUs, measured: numbers per block and element, so that a block and its temporaries stay in the cache; and pixels
# per map, at most, for which it pays to lay channels last, because reductions and flips of very short rows are slow.
_BLOCK = 1 << 18
_SMALL = 64

# Per channel of each pair of maps: dot product, both norms and, if the maps were centred, both means; each (n, N, C).
Products = tuple[Tensor, ...]


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
    centred = "feature_correlation" in metrics
    mixing = fibres if "field_eed" in metrics else None
    shape = maps.shape[-2:]
    pixels = float(group.act(0, torch.ones(shape)).sum())
    plain, mixed = [], []
    for block in _blocks(maps):
        rows, mixed_rows = [], []
        for k, here, there in _pairs(block, group, pixels, centred):
            rows.append(_products(here, there))
            if mixing is not None:
                same = mixing[k].is_identity
                mixed_rows.append(rows[-1] if same else _products(here, there.mixed(mixing[k])))
        plain.append(_stack(rows))
        if mixing is not None:
            mixed.append(_stack(mixed_rows))
    products = _join(plain)
    values = {}
    if "channel_eed" in metrics or ("field_eed" in metrics and mixing is None):
        values["channel_eed"] = -_cosine(products, pixels)
    if "field_eed" in metrics:
        if mixing is None:
            values["field_eed"] = values["channel_eed"]
        else:
            values["field_eed"] = -_cosine(_join(mixed), pixels)
    if centred:
        values["feature_correlation"] = _correlation(products, pixels)
    return {name: values[name] for name in metrics}


@dataclass(frozen=True)
class _Side:
    """One side of the comparison: maps (N, C, H, W), their norms and, if they were centred, the means taken away, (N, C)."""

    values: Tensor
    norm: Tensor
    mean: Tensor | None

    def mixed(self, fibre: Fibre) -> "_Side":
        values = fibre.act(self.values)
        norm = fibre.act(self.norm) if fibre.index is not None else _norm(values)
        return _Side(values, norm, None if self.mean is None else fibre.act(self.mean))


def _blocks(maps: Tensor) -> Iterable[Tensor]:
    """On a CPU, a few images at a time; elsewhere all at once."""
    return maps.split(max(1, _BLOCK // maps[0, 0].numel()), dim=1) if maps.device.type == "cpu" else [maps]


def _pairs(maps: Tensor, group: Group, pixels: float, centred: bool) -> Iterator[tuple[int, _Side, _Side]]:
    """(k, f(gx), g f(x)) for every averaged element k."""
    exact = group.exact_on(*maps.shape[-2:])
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    order = torch.preserve_format
    if maps.device.type == "cpu" and maps.shape[-2] * maps.shape[-1] <= _SMALL:
        order = torch.channels_last

    def side(raw: Tensor) -> _Side:
        values, mean = group.act(0, raw.contiguous(memory_format=order)), None
        if centred:
            mean = values.sum(dim=(-2, -1)) / pixels
            values = values - mean[..., None, None]
            values = values if exact else group.act(0, values)
        return _Side(values, _norm(values), mean)

    original = side(maps[0])
    for k in group.averaged:
        if k == 0:
            yield k, original, original
        elif exact:  # a permutation of the pixels keeps norms and means
            yield k, side(maps[k]), _Side(group.act(k, original.values), original.norm, original.mean)
        else:
            yield k, side(maps[k]), side(group.act(k, maps[0]))


def _norm(values: Tensor) -> Tensor:
    # Each of the two is several times slower than the other on the other's layout.
    if values.is_contiguous():
        return torch.linalg.vector_norm(values, dim=(-2, -1))
    return values.square().sum(dim=(-2, -1)).sqrt_()


def _products(a: _Side, b: _Side) -> Products:
    dot = a.norm.square() if a is b else (a.values * b.values).sum(dim=(-2, -1))
    return (dot, a.norm, b.norm) if a.mean is None else (dot, a.norm, b.norm, a.mean, b.mean)


def _stack(rows: Sequence[Products]) -> Products:
    """Along a new first axis, the elements."""
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


def _join(blocks: Sequence[Products]) -> Products:
    """Along the axis of the images."""
    return blocks[0] if len(blocks) == 1 else tuple(torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True))


def _cosine(products: Products, pixels: float) -> Tensor:
    """Mean cosine, per image, of the maps as they were before centring."""
    dot, a_norm, b_norm, *means = products
    if means:
        dot = torch.addcmul(dot, means[0], means[1], value=pixels)
        a_norm, b_norm = (
            torch.addcmul(norm.square(), mean, mean, value=pixels).sqrt_()
            for norm, mean in ((a_norm, means[0]), (b_norm, means[1]))
        )
    return _mean_ratio(dot, a_norm, b_norm)


def _correlation(products: Products, pixels: float) -> Tensor:
    """Mean cosine, per image, of the centred maps; what is only the rounding of a constant channel counts as nothing."""
    dot, *norms = products[:3]
    noise = 16 * torch.finfo(dot.dtype).eps * pixels**0.5
    a_kept, b_kept = (norm > noise * mean.abs() for norm, mean in zip(norms, products[3:], strict=True))
    return _mean_ratio(dot * (a_kept & b_kept), norms[0] * a_kept, norms[1] * b_kept)


def _mean_ratio(dot: Tensor, a_norm: Tensor, b_norm: Tensor) -> Tensor:
    """Mean of dot / (|a| |b|) over elements and channels of (n, N, C): (N,), float64, NaN where a norm is not finite.

    The smallest number whose square is a normal one is added to both norms, so that the ratio is 1 where both are zero and 0
    where one is; it changes nothing else.
    """
    least = torch.finfo(dot.dtype).tiny ** 0.5 * 4
    ratio = (dot + least**2).div_(a_norm + least).div_(b_norm + least)
    finite = (a_norm.sum(dim=(0, 2)) + b_norm.sum(dim=(0, 2))).double() * 0  # 0 times infinity is NaN
    return ratio.mean(dim=(0, 2), dtype=torch.float64).clamp_(-1, 1) + finite
