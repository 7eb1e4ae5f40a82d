"""Channelwise equivariance of feature maps: Eq 5 of Kvinge et al. 2022, its field-aware form, and feature correlation.

All compare f(gx) with g·f(x), channel by channel, over an orbit that is laid out as (|G|, N, C, H, W), element 0 (the identity)
first. They share one set of reductions of the maps, in the maps' own precision; averages are float64.
"""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geed.groups.base import Group
from geed.groups.fields import Fibre

# Numbers per block and element on a CPU, so that a block and its temporaries stay in the cache.
_BLOCK = 1 << 18

# What a map is reduced to, per channel, each (…, C): its norm; and for correlations its mean, and its norm after centring.
Statistics = tuple[Tensor, ...]


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
    correlating = "feature_correlation" in metrics
    mixing = fibres if "field_eed" in metrics else None
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    if maps.device.type == "cpu" and group.exact_on(*maps.shape[-2:]) and all(f.index is not None for f in mixing or []):
        from geed.metrics import permuted

        channels = None if mixing is None else torch.stack([fibre.index for fibre in mixing])
        cosine, mixed_cosine, correlation = permuted.measure(maps, group, correlating, channels)
        values = {"channel_eed": -cosine, "field_eed": -mixed_cosine, "feature_correlation": correlation}
        return {name: values[name] for name in metrics}
    pixels = _pixels(group, *maps.shape[-2:])
    blocks = [_reduce(block, group, pixels, correlating, mixing) for block in _blocks(maps)]
    plain, mixed = (_join([block[i] for block in blocks]) for i in (0, 1))
    means = plain.means(pixels)
    values = {"channel_eed": -means[0], "feature_correlation": means[-1]}
    values["field_eed"] = values["channel_eed"] if mixed is None else -mixed.means(pixels)[0]
    return {name: values[name] for name in metrics}


@dataclass(frozen=True)
class _Products:
    """What the metrics need of n pairs of maps: dot products (n, N, C), the second map centred for correlations, and statistics.

    Where all pairs share the second map's statistics, these are (1, N, C).
    """

    dot: Tensor
    a: Statistics
    b: Statistics

    def means(self, pixels: float) -> Tensor:
        """Mean cosine of each image, and mean correlation if there are statistics for it: (1 or 2, N)."""
        if len(self.a) == 1:
            return _mean_ratio(self.dot[None], self.a[0][None], self.b[0][None])
        dots, a, b = [torch.addcmul(self.dot, self.a[1], self.b[1], value=pixels)], self.a[:1], self.b[:1]
        if len(self.a) > 2:  # what rounding leaves of a product with a constant channel is nothing
            dots.append(self.dot * self.a[2].sign() * self.b[2].sign())
            a, b = self.a[::2], self.b[::2]
        return _mean_ratio(torch.stack(dots), torch.stack(a), torch.stack(b))


def _join(blocks: "Sequence[_Products | None]") -> "_Products | None":
    """The products of all images from those of some."""
    if len(blocks) == 1 or blocks[0] is None:
        return blocks[0]
    join = lambda parts: tuple(torch.cat(part, dim=1) for part in zip(*parts, strict=True))  # noqa: E731
    return _Products(torch.cat([block.dot for block in blocks], dim=1), join(b.a for b in blocks), join(b.b for b in blocks))


@functools.lru_cache(maxsize=256)
def _pixels(group: Group, height: int, width: int) -> float:
    """How many pixels the group keeps."""
    return float(group.act(0, torch.ones(height, width)).sum())


def _blocks(maps: Tensor) -> Sequence[Tensor]:
    """On a CPU, a few images at a time; elsewhere all at once."""
    return maps.split(max(1, _BLOCK // maps[0, 0].numel()), dim=1) if maps.device.type == "cpu" else [maps]


def _reduce(
    maps: Tensor, group: Group, pixels: float, correlating: bool, fibres: Sequence[Fibre] | None
) -> tuple[_Products, _Products | None]:
    """The products of f(gx) with g f(x), and with ρ(g) g f(x) where channels are mixed, for some images of an orbit."""
    exact = group.exact_on(*maps.shape[-2:])  # then g permutes pixels, and keeps norms and means
    left = group.act(0, maps)
    a = _statistics(left, group, pixels, correlating)
    original, b_original = left[0], tuple(part[0] for part in a)
    if correlating:
        original = _centred(original, b_original[1], group)
    dots, b, mixed_dots, mixed_b = [], [], [], []
    for k in group.averaged:
        if exact:
            right, b_right = group.act(k, original), b_original
        else:
            right = group.act(k, maps[0])
            b_right = _statistics(right, group, pixels, correlating)
            right = _centred(right, b_right[1], group) if correlating else right
        # With itself, a map has its squared norm as product.
        dots.append(b_right[-1].square() if exact and k == 0 else _dot(left[k], right))
        b.append(b_right)
        if fibres is not None:
            right, b_right = _mixed(right, b_right, fibres[k], pixels)
            mixed_dots.append(_dot(left[k], right))
            mixed_b.append(b_right)
    a = tuple(part[group.averaged.start :] for part in a)
    stack = lambda parts: tuple(torch.stack(part) for part in zip(*parts, strict=True))  # noqa: E731
    plain = _Products(torch.stack(dots), a, stack(b[:1] if exact else b))
    return plain, _Products(torch.stack(mixed_dots), a[:2], stack(mixed_b)) if fibres is not None else None


def _statistics(values: Tensor, group: Group, pixels: float, correlating: bool) -> Statistics:
    """Of maps (…, C, H, W) that the group has masked."""
    norm = _norm(values)
    if not correlating:
        return (norm,)
    mean = values.sum(dim=(-2, -1)) / pixels
    return norm, mean, _without_rounding(_norm(_centred(values, mean, group)), mean, pixels)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(-2, -1))


def _norm(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values, dim=(-2, -1))


def _centred(values: Tensor, mean: Tensor, group: Group) -> Tensor:
    return group.act(0, values - mean[..., None, None])


def _without_rounding(spread: Tensor, mean: Tensor, pixels: float) -> Tensor:
    """Zero for what centring leaves of a constant channel."""
    return torch.where(spread > 16 * torch.finfo(spread.dtype).eps * pixels**0.5 * mean.abs(), spread, 0)


def _mixed(values: Tensor, statistics: Statistics, fibre: Fibre, pixels: float) -> tuple[Tensor, Statistics]:
    """Maps and statistics (norms, and means if there are any: enough for cosines) after ρ(g)."""
    if fibre.is_identity:
        return values, statistics[:2]
    values, means = fibre.act(values), [fibre.act(mean) for mean in statistics[1:2]]
    if fibre.index is not None:
        return values, (fibre.act(statistics[0]), *means)
    squares = _norm(values).square() + sum(pixels * mean.square() for mean in means)
    return values, (squares.sqrt(), *means)


def _mean_ratio(dot: Tensor, a_norm: Tensor, b_norm: Tensor) -> Tensor:
    """Mean of dot / (|a| |b|) over elements and channels of (…, n, N, C): (…, N), float64, NaN where a norm is not finite.

    The smallest number whose square is a normal one is added to both norms, so that the ratio is 1 where both are zero and 0
    where one is; it changes nothing else.
    """
    least = torch.finfo(dot.dtype).tiny ** 0.5 * 4
    ratio = (dot + least**2).div_(a_norm + least).div_(b_norm + least)
    ratio.add_(a_norm, alpha=0).add_(b_norm, alpha=0)  # 0 times infinity is NaN
    return ratio.mean(dim=(-3, -1), dtype=torch.float64).clamp_(-1, 1)
