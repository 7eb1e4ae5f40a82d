"""Rank correlations with a cluster bootstrap, all resamples at once.

A resample of clusters gives every point an integer weight, so ranks need no sorting per resample: points are sorted once, and a
weighted rank is a cumulative sum of weights.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from geed.errors import GeedError
from geed.seeds import rng

Array = NDArray[np.float64]


def bootstrap_correlation(
    x: Sequence[float], y: Sequence[float], clusters: Sequence[object], names: Sequence[object], resamples: int
) -> dict[str, Array]:
    """Spearman's and Kendall's rank correlations of points, resampling whole clusters of them.

    Args:
        x: (P,) values.
        y: (P,) values.
        clusters: (P,) label of each point's cluster; points of one trained network are drawn together.
        names: words that name the random stream.
        resamples: B.

    Returns:
        "spearman" and "kendall" -> (1 + B,): the estimate, then the resampled values. A resample in which x or y is constant
        has no correlation and is left out, which leaves fewer values; all are NaN where x or y is constant from the start.

    Raises:
        GeedError: fewer than three clusters.
    """
    labels, membership = np.unique([str(cluster) for cluster in clusters], return_inverse=True)
    if len(labels) < 3:
        raise GeedError(f"expected at least three trained networks to correlate over, found {len(labels)}")
    drawn = rng(*names, len(labels)).multinomial(len(labels), [1 / len(labels)] * len(labels), size=resamples)
    weights = np.concatenate([np.ones((1, len(labels))), drawn])[:, membership].astype(np.float64)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return {name: _defined(correlate(x, y, weights)) for name, correlate in CORRELATIONS.items()}


def spearman(x: Array, y: Array, weights: Array) -> Array:
    """Spearman's rho of points with integer weights (repeats), ties by average rank: weights (B, P) -> (B,), NaN if constant."""
    return _pearson(_ranks(x, weights), _ranks(y, weights), weights)


def kendall(x: Array, y: Array, weights: Array) -> Array:
    """Kendall's tau-b of points with integer weights (repeats): weights (B, P) -> (B,), NaN if constant."""
    above_x, above_y = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    concordance, pairs_x, pairs_y = (
        np.einsum("bp,bp->b", weights @ matrix, weights) for matrix in (above_x * above_y, np.abs(above_x), np.abs(above_y))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return concordance / np.sqrt(pairs_x * pairs_y)


CORRELATIONS: dict[str, Callable[[Array, Array, Array], Array]] = {"spearman": spearman, "kendall": kendall}


def _ranks(values: Array, weights: Array) -> Array:
    """Average ranks under weights, (B, P)."""
    levels, level = np.unique(values, return_inverse=True)
    at = weights @ (level[:, None] == np.arange(len(levels))).astype(np.float64)
    return (np.cumsum(at, axis=1) - at + (at + 1) / 2)[:, level]


def _pearson(x: Array, y: Array, weights: Array) -> Array:
    total = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / total
    y = y - (weights * y).sum(axis=1, keepdims=True) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * x * y).sum(axis=1) / np.sqrt((weights * x * x).sum(axis=1) * (weights * y * y).sum(axis=1))


def _defined(draws: Array) -> Array:
    if not np.isfinite(draws[0]):
        return np.full_like(draws, np.nan)
    return np.concatenate([draws[:1], draws[1:][np.isfinite(draws[1:])]])
