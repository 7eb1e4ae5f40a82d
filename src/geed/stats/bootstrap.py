"""Hierarchical bootstrap over training seeds and images, paired across arms.

An arm is an array (seeds, images): one number per trained network and test image. A resample draws seeds with replacement, then
images within them. Every seed of a run sees the same test images, so seeds and images are crossed, and one draw of images
serves all seeds of a resample (the "pigeonhole" bootstrap, Owen 2007, doi:10.1214/07-AOAS122); drawing images anew for each seed
would count N images seen by S seeds as N * S independent ones, and give intervals that are too short.

Draws are made from named streams, so arms that are added apart are still paired: by seed where they have the same seeds, by
image where they name the same set of images. Statistics are functions of arm means, each an array (1 + B,) that holds the
estimate first and then the B resampled values; a ratio or difference of such arrays is again one, so each statistic is written
once.

Intervals are percentile intervals: they need no standard error, respect ratios, and never leave the range of the data. BCa is not
used, because its acceleration would be estimated from a jackknife over three to five seeds.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geed.errors import GeedError
from geed.seeds import rng

Array = NDArray[np.float64]

# Image draws held at once: counts are float64, so 2**22 of them are 32 MiB.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Interval:
    """An estimate, its percentile interval, and the two-sided p-value of "it is zero"."""

    estimate: float
    low: float
    high: float
    p: float


class Bootstrap:
    """Resampled means of many arms under the same draws.

    >>> arms = Bootstrap("example", resamples=2000)
    >>> arms.add("digits", {"a": np.full((3, 10), 2.0), "b": np.full((3, 10), 1.0)})
    >>> means = arms.means()
    >>> interval(means["a"] / means["b"], 0.95).estimate
    2.0
    """

    def __init__(self, *names: object, resamples: int) -> None:
        """Name the streams.

        Args:
            names: words that name the random streams, such as study and claim.
            resamples: B, number of resamples.
        """
        self.names, self.resamples = names, resamples
        self._seeds: dict[Hashable, tuple[int, ...]] = {}
        self._observed: dict[Hashable, Array] = {}  # (S,) mean over images
        self._resampled: dict[Hashable, Array] = {}  # (B, S) mean over resampled images
        self._positive: set[Hashable] = set()

    def add(
        self, images: str, arms: Mapping[Hashable, Array], seeds: Sequence[int] | None = None, *, positive: bool = False
    ) -> None:
        """Add arms that were measured on the same images in the same order, with the same seeds.

        Args:
            images: name of the set of images; arms on one set, also from different calls, get the same draws of images.
            arms: key -> values (S, N), finite.
            seeds: the S training seeds; arms of other seeds are drawn apart. None: 0, 1, ….
            positive: whether values below 0 cannot be, and seeds differ by factors rather than by amounts. A small sample is then
                expanded on the logarithmic scale, where it cannot leave the positive numbers.

        Raises:
            GeedError: an arm has another number of seeds or images than the others, no images, or a value that is not finite.
        """
        if not arms:
            return
        first = next(iter(arms.values()))
        seeds = tuple(range(len(first)) if seeds is None else seeds)
        shape = (len(seeds), first.shape[-1])
        for key, values in arms.items():
            if values.shape != shape or not values.size:
                raise GeedError(
                    f"{key}: expected values of {shape[0]} seeds and {shape[1]} images, found an array of shape {values.shape}"
                )
            if not np.isfinite(values).all():
                raise GeedError(f"{key}: expected finite values, found {int((~np.isfinite(values)).sum())} that are not")
        stacked = np.stack([np.asarray(values, dtype=np.float64) for values in arms.values()])
        resampled = _resample_images(stacked.reshape(-1, shape[1]), self.resamples, (*self.names, "images", images))
        for index, key in enumerate(arms):
            self._seeds[key] = seeds
            self._positive |= {key} if positive else set()
            self._observed[key] = stacked[index].mean(axis=1)
            self._resampled[key] = resampled[:, index * len(seeds) : (index + 1) * len(seeds)]

    def means(self, *, without: int | None = None, small_sample: float | None = None) -> dict[Hashable, Array]:
        """Means over seeds and images of every arm: the estimate, then one value per resample, (1 + B,).

        Args:
            without: a seed to leave out, for sensitivity; every arm that has it needs another one.
            small_sample: None, or a confidence for which the seed part of each resample is expanded about the mean over seeds by
                ``sqrt(S / (S - 1)) * t / z``: what makes an interval from few seeds as wide as Student's (after Hesterberg 2015,
                doi:10.1080/00031305.2015.1089789, section 5). Needs at least two seeds.
        """
        weights: dict[int, Array] = {}
        means = {}
        for key, observed in self._observed.items():
            kept = [index for index, seed in enumerate(self._seeds[key]) if seed != without]
            if (count := len(kept)) not in weights:
                weights[count] = self._seed_weights(count)
            values, shares = self._resampled[key][:, kept], weights[count]
            if small_sample is None:
                drawn = _weighted(shares, values)
            elif key in self._positive:
                centre = values.mean(axis=1)
                factor = np.divide(_weighted(shares, values), centre, out=np.ones_like(centre), where=centre > 0)
                drawn = centre * factor ** expansion(count, small_sample)
            else:
                drawn = _weighted(1 / count + expansion(count, small_sample) * (shares - 1 / count), values)
            means[key] = np.concatenate([[observed[kept].mean()], drawn])
        return means

    def _seed_weights(self, seeds: int) -> Array:
        """The share of each seed in each resample, (B, S)."""
        stream = rng(*self.names, "seeds", seeds)
        return stream.multinomial(seeds, [1 / seeds] * seeds, size=self.resamples) / seeds


def _weighted(shares: Array, values: Array) -> Array:
    return np.einsum("bs,bs->b", shares, values)


def expansion(seeds: int, confidence: float) -> float:
    """How much wider Student's interval for a mean over `seeds` seeds is than the bootstrap's normal one.

    >>> round(expansion(3, 0.95), 2)
    2.69
    """
    from scipy.special import ndtri, stdtrit  # scipy.stats would cost half a second more

    tail = (1 + confidence) / 2
    return float(np.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, tail) / ndtri(tail))


def interval(draws: Array, confidence: float) -> Interval:
    """Percentile interval and two-sided p-value of a statistic.

    Args:
        draws: (1 + B,), the estimate and then its resampled values.
        confidence: coverage, such as 0.95.

    Returns:
        The interval; ``p = min(1, 2 (1 + min(#<=0, #>=0)) / (B + 1))``. All NaN where a resampled value is not finite.
    """
    estimate, resampled = float(draws[0]), draws[1:]
    if not np.isfinite(draws).all():
        return Interval(estimate, float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    beyond = min((resampled <= 0).sum(), (resampled >= 0).sum())
    return Interval(estimate, float(low), float(high), float(min(1.0, 2 * (1 + beyond) / (len(resampled) + 1))))


def _resample_images(values: Array, resamples: int, names: Sequence[object]) -> Array:
    """Means of the rows of `values` (R, N) over N images drawn with replacement, the same draw for every row: (B, R)."""
    count = values.shape[1]
    stream = rng(*names, count)
    means = np.empty((resamples, values.shape[0]))
    block = max(1, _BLOCK // count)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = stream.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        means[start : start + size] = counts.astype(np.float64) @ values.T
    return means / count
