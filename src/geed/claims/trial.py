"""What all claims on networks share: loading arms, drawing, deciding, and how a verdict depends on thresholds and seeds."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from geed.claims.evidence import Evidence
from geed.claims.parts import Parts
from geed.claims.verdicts import INCONCLUSIVE
from geed.errors import GeedError
from geed.files import sha256
from geed.metrics.registry import LARGER_IS_MORE_INVARIANT, check
from geed.stats.bootstrap import Array, Bootstrap, Interval, interval
from geed.stats.corrections import holm

# Resampled statistics by what they are; None where one is not defined.
Statistics = dict[tuple, Array | None]

# Measured at every convolutional layer; as one number for a network they are averaged over its layers.
LAYERWISE = ("channel_eed", "field_eed", "feature_correlation")


class _Arm(NamedTuple):
    """Per-image values (seeds, images) of one network, with the name of the set of images (`Bootstrap.add`)."""

    images: str
    seeds: tuple[int, ...]
    values: np.ndarray
    positive: bool


class Outcome(NamedTuple):
    """A claim's result (the contract of claims/<ID>.json) and its parts (claims/<ID>.csv)."""

    result: dict[str, Any]
    parts: pd.DataFrame


@dataclass(frozen=True)
class View:
    """Resampled arm means as one decision sees them.

    Attributes:
        means: arm, its comparison first -> (1 + B,) estimate and resampled values.
        settings: the claim's settings, thresholds perhaps shifted.
        without: a training seed that is left out, or None.
    """

    means: Mapping[tuple, Array]
    settings: Mapping[str, Any]
    without: int | None = None

    def interval(self, draws: Array) -> Interval:
        """Percentile interval of a statistic at the settings' confidence."""
        return interval(draws, self.settings["confidence"])

    @property
    def level(self) -> float:
        """Level of the tests that go with the confidence."""
        return 1 - self.settings["confidence"]

    def ratio(self, numerator: Array, denominator: Array, gap: float) -> Array | None:
        """A ratio, or None where the denominator's interval does not start above `gap`."""
        return numerator / denominator if self.interval(denominator).low > gap and (denominator > 0).all() else None

    def differences(self, role: str, *, minus: Collection[str]) -> dict[tuple, Array]:
        """E(role) - E(arm) for each arm of the roles `minus`, both turned so that larger means less invariant.

        For arms that `Trial.stage` named: (comparison, role, run, metric).
        """
        arms = {key: oriented(key[3], draws) for key, draws in self.means.items() if key[3] != "accuracy"}
        first = {(key[0], key[3]): draws for key, draws in arms.items() if key[1] == role}
        return {key: first[key[0], key[3]] - draws for key, draws in arms.items() if key[1] in minus}

    def levels(self, role: str) -> dict[str, float]:
        """Metric -> mean of a role over comparisons, for arms that `Trial.stage` named."""
        found: dict[str, list[float]] = {}
        for (_, own, _, metric), draws in self.means.items():
            if own == role and metric != "accuracy":
                found.setdefault(metric, []).append(draws[0])
        return {metric: float(np.mean(values)) for metric, values in found.items()}


@dataclass(frozen=True)
class Decision:
    """What a rule made of a view: the verdict, those of its parts, and the headline statistic (None where it is not defined)."""

    verdict: str
    headline: Array | None
    parts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Trial:
    """One claim on one study.

    Arms are staged with `arm` under keys whose first part is their comparison, drawn together by `view`, and reported through
    `row` and `outcome`. The arms of a comparison are paired by the seeds that all of them have.
    """

    def __init__(self, claim: str, settings: Mapping[str, Any], evidence: Evidence, study: str) -> None:
        self.claim, self.settings, self.evidence, self.study = claim, settings, evidence, study
        self.parts = Parts()
        self.accuracies: dict[str, float] = {}
        self.n_images = 0
        self._bootstrap = Bootstrap(study, claim, resamples=settings["resamples"])
        self._staged: dict[tuple, _Arm] = {}
        self._sizes: dict[tuple, int] = {}
        self._seeds: dict[str, tuple[int, ...]] = {}

    def arm(
        self, key: tuple, run: str, metric: str, *, group: str, evaluation: str, layer: str | None = None, **condition: Any
    ) -> np.ndarray:
        """Stage the per-image values of a run under `key`; returns them, (seeds, images).

        Args:
            key: name of the arm, its comparison first.
            run: name of the run.
            metric: `name` or `name/distance`.
            group: group acted with.
            evaluation: name of the evaluation.
            layer: layer; None takes the whole network: the mean over layers of a layerwise metric, the features of a latent one.
            condition: corruption and severity.
        """
        where = {"group": group, "evaluation": evaluation}
        name, distance = check(self.resolved(run, metric, **where))
        layers = [layer] if layer is not None else self.whole(run, name, distance, **where)
        values = np.mean(
            [self.evidence.array(run, name, distance, layer=entry, **where, **condition) for entry in layers], axis=0
        )
        self.put(key, values, run, evaluation)
        return values

    def put(self, key: tuple, values: np.ndarray, run: str, evaluation: str, *, positive: bool = False) -> None:
        """Stage values (seeds, images) of a run under `key`, measured on the images of an evaluation.

        `positive`: they are above 0, and widened for the few seeds by factors instead of amounts (`geed.stats.bootstrap`).
        """
        images, seeds = self.evidence.images(run, evaluation), self.evidence.seeds(run)
        self._staged[key] = _Arm(f"{images}/{values.shape[1]}", seeds, values, positive)
        self._seeds[key[0]] = tuple(seed for seed in self._seeds.get(key[0], seeds) if seed in seeds)
        self._sizes[key] = values.shape[1]
        if key[-1] != "accuracy":  # which may be of more images than what the claim is about
            self.n_images = max(self.n_images, values.shape[1])

    def note_accuracy(self, run: str, *, group: str, evaluation: str) -> None:
        """Note the accuracy of a run for the result."""
        self.accuracies[run] = float(self.evidence.array(run, "accuracy", group=group, evaluation=evaluation).mean())

    def stage(self, metrics: Iterable[str], *of_roles: str) -> dict[tuple[str, str, str, str], Array]:
        """Stage the metrics and the accuracy of all runs of the given roles, as (comparison, role, run, metric)."""
        metrics, staged = list(metrics), {}
        for name, entry in self.settings["comparisons"].items():
            where = {"group": entry["group"], "evaluation": entry["evaluation"]}
            for role, run in roles(entry, *of_roles):
                for metric in [*metrics, "accuracy"]:
                    staged[name, role, run, metric] = self.arm((name, role, run, metric), run, metric, **where)
                self.note_accuracy(run, **where)
        return staged

    def has(self, run: str, metric: str, *, group: str, evaluation: str) -> bool:
        """Whether a run was measured so; for arms that are only shown."""
        name, distance = check(metric)
        return self.evidence.has(run, name, distance, group=group, evaluation=evaluation)

    def resolved(self, run: str, metric: str, *, group: str, evaluation: str) -> str:
        """`metric`, but channel_eed in place of field_eed where the network declares no fields: then they are the same."""
        if metric.startswith("field_eed") and not self.has(run, metric, group=group, evaluation=evaluation):
            return metric.replace("field_eed", "channel_eed", 1)
        return metric

    def whole(self, run: str, name: str, distance: str, **where: str) -> list[str]:
        """The layers that stand for the whole network: all of a layerwise metric's, the feature layer, or "" for the output."""
        layers = [layer for layer, _ in self.evidence.layers(run, name, distance, **where)]
        if name in LAYERWISE:
            return layers
        return [""] if "" in layers else layers[-1:]

    def size(self, key: tuple) -> int:
        """Number of images of an arm."""
        return self._sizes[key]

    def view(self, *, without: int | None = None, intervals: str | None = None) -> View:
        """Resampled means of all staged arms, with a seed left out, or with other `intervals` than the settings'.

        Raises:
            GeedError: the runs of a comparison have no seed in common.
        """
        drawn_together: dict[tuple, dict[tuple, np.ndarray]] = {}
        for key, arm in self._staged.items():
            if not (seeds := self._seeds[key[0]]):
                raise GeedError(f"claims.{self.claim}.comparisons.{key[0]}: expected runs with seeds in common, found none")
            values = arm.values[[arm.seeds.index(seed) for seed in seeds]]
            drawn_together.setdefault((arm.images, seeds, arm.positive), {})[key] = values
        for (images, seeds, positive), arms in drawn_together.items():
            self._bootstrap.add(images, arms, seeds, positive=positive)
        self._staged = {}
        student = (intervals or self.settings["intervals"]) == "student" and self.n_seeds > 1
        means = self._bootstrap.means(without=without, small_sample=self.settings["confidence"] if student else None)
        return View(means, self.settings, without)

    @property
    def n_seeds(self) -> int:
        """Training seeds that the arms of every comparison have in common, in the one with the fewest."""
        return min(len(seeds) for seeds in self._seeds.values())

    def row(self, part: str, value: Interval | float, **cells: Any) -> None:
        """Add a row to the parts, with the number of seeds."""
        seeds = self._seeds.get(cells.get("comparison", ""))
        n_seeds = self.n_seeds if seeds is None else len(seeds)
        self.parts.add(part, value, **({"n_seeds": n_seeds, "n_images": self.n_images} | cells))

    def arm_rows(self, view: View) -> None:
        """Add the rows of all arms that `stage` named: part "deviation" or "accuracy"."""
        for key, draws in view.means.items():
            name, role, run, metric = key
            part = "accuracy" if metric == "accuracy" else "deviation"
            cells = {"comparison": name, "group": self.settings["comparisons"][name]["group"], "role": role, "arm": run}
            self.row(part, view.interval(draws), metric=metric, n_images=self.size(key), **cells)

    def difference_rows(self, view: View, differences: Mapping[tuple, Array], p_holm: Mapping[tuple, float]) -> None:
        """Add the rows of differences of such arms, with the corrected p-values of those that were tested."""
        for key, draws in differences.items():
            name, role, run, metric = key
            cells = {"comparison": name, "group": self.settings["comparisons"][name]["group"], "role": role, "arm": run}
            self.row("difference", view.interval(draws), metric=metric, p_holm=p_holm.get(key), **cells)

    def outcome(
        self,
        decide: Callable[[View], Decision],
        *,
        estimate_name: str,
        test: str,
        thresholds: tuple[str, ...],
        floor: Mapping[str, float],
        null: Mapping[str, float],
        alternatives: Mapping[str, Iterable[Any]] | None = None,
        over_networks: bool = False,
    ) -> Outcome:
        """Decide, decide again under other thresholds, confidences, seeds and intervals, and write the result down.

        Args:
            decide: the claim's rule.
            estimate_name: what the estimate is, in words with its unit.
            test: the rule in words, with its thresholds.
            thresholds: keys of the settings that are shifted for sensitivity.
            floor: metric -> what networks that are equivariant by construction score.
            null: metric -> what untrained networks score.
            alternatives: keys of the settings -> other values under which the verdict is computed too.
            over_networks: whether the claim's interval is over networks too, so that one seed of each is enough.
        """
        view = self.view()
        decision = decide(view)
        enough = self.n_seeds > 1 or over_networks
        notes = list(decision.notes)
        if self.n_seeds == 1:
            words = "the interval is over networks and images" if over_networks else "no verdict is given"
            notes.append(f"One training seed cannot show how seeds vary: {words}.")
        headline = Interval(*[float("nan")] * 4) if decision.headline is None else view.interval(decision.headline)
        result = {
            "id": self.claim,
            "estimate": _number(headline.estimate),
            "ci_low": _number(headline.low),
            "ci_high": _number(headline.high),
            "confidence": self.settings["confidence"],
            "intervals": self.settings["intervals"],
            "estimate_name": estimate_name,
            "n_seeds": self.n_seeds,
            "n_images": self.n_images,
            "test": test,
            "thresholds": {key: self.settings[key] for key in thresholds},
            "floor": {metric: _number(value) for metric, value in floor.items()},
            "null": {metric: _number(value) for metric, value in null.items()},
            "verdict": decision.verdict if enough else INCONCLUSIVE,
            "part_verdicts": decision.parts,
            "notes": notes,
            "sensitivity": self._sensitivity(decide, thresholds, alternatives or {}) if enough else {},
            "accuracies": {run: round(value, 6) for run, value in sorted(self.accuracies.items())},
            "evidence": [{"path": path.as_posix(), "sha256": sha256(path)} for path in self.evidence.sources],
            "scale": self.study,
        }
        return Outcome(result, self.parts.frame())

    def _sensitivity(
        self, decide: Callable[[View], Decision], thresholds: tuple[str, ...], alternatives: Mapping[str, Iterable[Any]]
    ) -> dict[str, Any]:
        """The verdict under other settings, thresholds, confidences, without each seed, and from either kind of interval."""
        full = self.view()

        def shifted(**changes: Any) -> str:
            return decide(View(full.means, {**self.settings, **changes})).verdict

        seeds = sorted(set().union(*self._seeds.values()))
        near = [
            (key, self.settings[key] * factor if self.settings[key] else factor - 1)
            for key in thresholds
            for factor in self.settings["neighbours"]
        ]
        others = {key: {str(value): shifted(**{key: value}) for value in values} for key, values in alternatives.items()}
        return {
            **others,
            "threshold": {f"{key} = {value:.3g}": shifted(**{key: value}) for key, value in near},
            "confidence": {f"{confidence:g}": shifted(confidence=confidence) for confidence in (0.9, 0.99)},
            "without_seed": {str(seed): decide(self.view(without=seed)).verdict for seed in seeds} if self.n_seeds > 2 else {},
            "intervals": {kind: decide(self.view(intervals=kind)).verdict for kind in ("percentile", "student")},
        }


def roles(entry: Mapping[str, Any], *names: str) -> list[tuple[str, str]]:
    """(role, run) of every run of the given roles of a comparison; a role holds one run, several or none.

    >>> roles({"supervised": "plain", "others": ["crops", "vicreg"]}, "supervised", "others", "shown")
    [('supervised', 'plain'), ('other', 'crops'), ('other', 'vicreg')]
    """
    found: list[tuple[str, str]] = []
    for role in names:
        runs = entry.get(role) or []
        found += [(role.removesuffix("s"), run) for run in ([runs] if isinstance(runs, str) else runs)]
    return found


def corrected(view: View, draws: Mapping[tuple, Array]) -> dict[tuple, float]:
    """Holm-corrected p-values of "is zero", one family."""
    return dict(zip(draws, holm([view.interval(values).p for values in draws.values()]).tolist(), strict=True))


def mean(statistics: Iterable[Array | None]) -> Array | None:
    """The mean of the statistics that are defined, None where none is."""
    defined = [draws for draws in statistics if draws is not None]
    return np.mean(defined, axis=0) if defined else None


def oriented(metric: str, values: Any) -> Any:
    """`values` of a metric turned so that larger means less invariant.

    Raises:
        GeedError: the metric does not say how invariant a network is (accuracy, dispersion).
    """
    name, _ = check(metric)
    if name == "accuracy" or name.endswith("dispersion"):
        raise GeedError(f"{metric}: expected a metric of invariance; this one does not say how invariant a network is")
    return -values if name in LARGER_IS_MORE_INVARIANT else values


def exact(metric: str) -> float | None:
    """What a network scores that is exactly equivariant under an exact group, where the metric's definition alone says it."""
    name, distance = check(metric)
    if name in LARGER_IS_MORE_INVARIANT or name == "accuracy" or distance == "normalized_cosine":
        return None
    return -1.0 if distance == "cosine" else 0.0


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
