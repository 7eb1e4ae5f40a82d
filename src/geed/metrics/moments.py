"""Mean and standard error of a stream, in float64."""

import math
from collections.abc import Sequence

import numpy as np


class Moments:
    """Running mean and variance by pairwise merging (Chan et al. 1979); keeps the values themselves only if asked to."""

    def __init__(self, keep: bool):
        self.n = 0
        self.mean = 0.0
        self._squares = 0.0
        self._kept: list[np.ndarray] | None = [] if keep else None

    def _add(self, values: np.ndarray, mean: float, squares: float) -> None:
        """Add values of which the mean and the squared deviations from it are known."""
        n = len(values)
        difference = mean - self.mean
        self._squares += squares + difference**2 * self.n * n / (self.n + n)
        self.mean += difference * n / (self.n + n)
        self.n += n
        if self._kept is not None:
            self._kept.append(values)

    @property
    def se(self) -> float:
        """Standard error of the mean over images; NaN for one image."""
        return math.sqrt(self._squares / (self.n - 1) / self.n) if self.n > 1 else math.nan

    @property
    def values(self) -> np.ndarray | None:
        """All values, float64, in the order of the images; None if they were not kept."""
        return None if self._kept is None else np.concatenate(self._kept)


def add_rows(moments: Sequence[Moments], rows: np.ndarray) -> None:
    """Add one row (one value per image) to each; all at once, because there may be hundreds for a few images."""
    means = rows.mean(axis=1)
    squares = np.square(rows - means[:, None]).sum(axis=1)
    for each, row, mean, square in zip(moments, rows, means.tolist(), squares.tolist(), strict=True):
        each._add(row, mean, square)
