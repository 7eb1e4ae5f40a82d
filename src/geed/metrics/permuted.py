"""Cosines and correlations of maps over an orbit, for groups that permute pixels, on a CPU: one compiled loop.

Each map is read while it is in the cache, whatever the number of metrics, and images are shared among threads. Tensor operations
(`channelwise`, for GPUs and groups that resample) read the maps ten times, in dozens of steps too small for a second core.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from torch import Tensor

from geed.groups.base import Group

_WORTH_A_THREAD = 1 << 16  # numbers: below, handing work over takes longer than doing it
_SHARES = 4  # per thread


def measure(maps: Tensor, group: Group, correlating: bool, channels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cosine, mean cosine with channels exchanged, and mean correlation of f(gx) and g f(x): each (N,), float64.

    Args:
        maps: (|G|, N, C, H, W), float32 or float64, on a CPU.
        group: permutes H × W pixels.
        correlating: whether correlations are asked for; without them the third is 0.
        channels: (|G|, C), the channel from which each takes its values under ρ(g); None = its own, and the second is the first.
    """
    values = maps.detach().flatten(-2).contiguous().numpy()
    _, images, width, pixels = values.shape
    number = np.finfo(values.dtype)
    least = values.dtype.type(number.tiny**0.5 * 4)  # see channelwise._mean_ratio
    dust = values.dtype.type(16 * number.eps * pixels**0.5)  # see channelwise._without_rounding
    constants = least, dust, values.dtype.type(pixels)
    sources = _sources(group, *maps.shape[-2:])
    exchanged = np.empty((0, 0), np.int64) if channels is None else channels.numpy()
    sums = np.zeros((3, images))

    def part(first: int, last: int) -> None:
        _add_up(values, first, last, sources, exchanged, group.averaged.start, correlating, *constants, sums)

    _share(part, images, torch.get_num_threads() if values.size > _WORTH_A_THREAD else 1)
    cosine, mixed, correlation = torch.from_numpy(sums / (len(group.averaged) * width)).clamp_(-1, 1)
    return cosine, cosine if channels is None else mixed, correlation


@functools.lru_cache(maxsize=64)
def _sources(group: Group, height: int, width: int) -> np.ndarray:
    """(|G|, H · W): the pixel from which each takes its value. Unsigned: no index is looked at for being negative."""
    pixels = torch.arange(height * width).unflatten(0, (height, width))
    return torch.stack([group.act(k, pixels).flatten() for k in range(group.order)]).numpy().astype(np.uint32)


def _share(part: Callable[[int, int], None], images: int, threads: int) -> None:
    """Have `part` done for all images, by this thread and others, each taking the next few as it becomes free.

    Equal shares would wait for the slowest: a processor may be taken by another program, or by a thread of PyTorch's that spins.
    """
    threads = min(threads, images)
    if threads == 1:
        part(0, images)
        return
    step = -(-images // (_SHARES * threads))
    starts = iter(range(0, images, step))

    def work() -> None:
        for first in starts:
            part(first, min(first + step, images))

    helpers = [_workers(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():  # not begun: nothing is left for it
                helper.result()


@functools.lru_cache(maxsize=1)
def _workers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="geed-measure")


def _compiled(function: Callable[..., object]) -> Callable[..., object]:
    # Sums may be reordered, which vectorises them; NaN and infinity keep their meaning.
    compiled = functools.partial(numba.njit, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})
    try:
        return compiled(cache=True)(function)
    except RuntimeError:  # nowhere to write what is compiled
        return compiled(function)


@_compiled
def _ratio(product, a, b, least):
    """As `channelwise._mean_ratio`: 1 where both norms are 0, 0 where one is, NaN where one is not finite."""
    return (product + least * least) / ((a + least) * (b + least)) + (a - a) + (b - b)


@_compiled
def _add_up(maps, first, last, sources, exchanged, start, correlating, least, dust, count, sums):
    """Add to `sums` (3, N), for images from `first` to `last`, the ratios of all channels and elements from `start`."""
    order, _, channels, pixels = maps.shape
    zero = least - least
    means, norms, spreads = np.empty(channels, maps.dtype), np.empty(channels, maps.dtype), np.empty(channels, maps.dtype)
    moved = np.empty(pixels, maps.dtype)
    for n in range(first, last):
        original = maps[0, n]
        for k in range(order):  # element 0, the identity, gives the statistics of f(x) that the others need
            values, source = maps[k, n], sources[k]
            cosine, mixed, correlation = 0.0, 0.0, 0.0
            for c in range(channels):
                if k == 0:
                    for p in range(pixels):
                        moved[p] = original[c, p]
                else:
                    for p in range(pixels):
                        moved[p] = original[c, source[p]]
                total, squares, product = zero, zero, zero
                for p in range(pixels):
                    total += values[c, p]
                    squares += values[c, p] * values[c, p]
                    product += values[c, p] * moved[p]
                mean, norm = total / count, np.sqrt(squares)
                if k == 0:
                    means[c], norms[c] = mean, norm
                cosine += _ratio(product, norm, norms[c], least)
                if correlating:
                    squares, product = zero, zero
                    for p in range(pixels):
                        squares += (values[c, p] - mean) * (values[c, p] - mean)
                        product += (values[c, p] - mean) * (moved[p] - means[c])
                    spread = np.sqrt(squares)
                    if spread <= dust * abs(mean):  # what rounding leaves of a constant channel is nothing
                        spread = zero
                    if k == 0:
                        spreads[c] = spread
                    if spread == 0 or spreads[c] == 0:
                        product = zero
                    correlation += _ratio(product, spread, spreads[c], least)
            if len(exchanged) > 0:
                for c in range(channels):
                    other, squares, product = exchanged[k, c], zero, zero
                    for p in range(pixels):
                        moved[p] = original[other, source[p]]
                    for p in range(pixels):
                        squares += values[c, p] * values[c, p]
                        product += values[c, p] * moved[p]
                    mixed += _ratio(product, np.sqrt(squares), norms[other], least)
            if k >= start:
                sums[0, n] += cosine
                sums[1, n] += mixed
                sums[2, n] += correlation
