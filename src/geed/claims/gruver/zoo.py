"""What L1 to L3 share: Lie derivatives of many networks, staged by network and transformation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from geed.claims.trial import Trial, View
from geed.stats.bootstrap import Array

WHOLE = ("lie_derivative", "mean_abs")
LAYERWISE, FINITE = "lie_layerwise", "difference_quotient"
UNMOVED = "trivial"  # the group under which accuracy was measured
# What a network scores whose answers (or, layer by layer, whose maps) move with the image exactly as they should: the derivative
# of the interpolated image is exact and nothing is resampled, so no error of a resampler is left in it.
FLOOR = 0.0


class Zoo:
    """The networks of a claim's comparisons.

    Means are staged under (comparison, run, transform, metric, distance), accuracies under (comparison, run, "accuracy").
    """

    def __init__(self, trial: Trial) -> None:
        self.trial, self.comparisons = trial, trial.settings["comparisons"]

    def cases(self) -> Iterator[tuple[str, str, str]]:
        """(name of the case, comparison, transformation), one verdict each."""
        for name, entry in self.comparisons.items():
            for transform in entry["transforms"]:
                yield f"{name}, {transform}", name, transform

    def stage(self, runs: Mapping[str, Iterable[str]], metrics: Iterable[tuple[str, str]]) -> None:
        """Stage metrics of the runs of each comparison, at each of its transformations; and their accuracies."""
        metrics = list(metrics)
        for name, own in runs.items():
            where = {"evaluation": self.comparisons[name]["evaluation"]}
            for run in own:
                self.trial.arm((name, run, "accuracy"), run, "accuracy", group=UNMOVED, **where)
                self.trial.note_accuracy(run, group=UNMOVED, **where)
                for transform in self.comparisons[name]["transforms"]:
                    for metric, distance in metrics:
                        values = self.trial.evidence.array(run, metric, distance, group=f"lie:{transform}", **where)
                        key = (name, run, transform, metric, distance)
                        self.trial.put(key, values, run, where["evaluation"], positive=True)

    def parameters(self, name: str, run: str) -> float:
        """Number of trainable parameters of a network."""
        table = self.trial.evidence.values(run)
        rows = table[(table["metric"] == "parameters") & (table["evaluation"] == self.comparisons[name]["evaluation"])]
        return float(rows["value"].iloc[0])

    def steps(self, name: str, run: str) -> list[str]:
        """The parameters t at which finite transformations were measured, ascending, as the tables have them."""
        table = self.trial.evidence.values(run)
        rows = table[(table["metric"] == FINITE) & (table["evaluation"] == self.comparisons[name]["evaluation"])]
        return sorted(rows["distance"].unique(), key=float)

    def cells(self, name: str, transform: str, **more: Any) -> dict[str, Any]:
        """Cells of a row of the parts."""
        return {"comparison": name, "group": f"lie:{transform}", **more}


def level(draws: Iterable[Array]) -> float:
    """The mean of some statistics' estimates; NaN of none."""
    estimates = [float(values[0]) for values in draws]
    return float(np.mean(estimates)) if estimates else float("nan")


def slope(x: Array, y: Array, weights: Array | None = None) -> Array:
    """Slopes of least squares of y on x, (1 + B,), each draw on its own.

    Args:
        x: (P, 1 + B) or (P, 1).
        y: (P, 1 + B).
        weights: (P, 1 + B) how often each point counts; None counts each once.
    """
    weights = np.ones_like(y) if weights is None else weights
    total = weights.sum(axis=0)
    x = x - (weights * x).sum(axis=0) / total
    y = y - (weights * y).sum(axis=0) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * x * y).sum(axis=0) / (weights * x * x).sum(axis=0)


def log(view: View, name: str, runs: Iterable[str], transform: str) -> Array:
    """Logarithms of the end-to-end deviations of networks, (P, 1 + B)."""
    return np.log(np.stack([view.means[name, run, transform, *WHOLE] for run in runs]))
