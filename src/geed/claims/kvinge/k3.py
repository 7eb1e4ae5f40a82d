"""K3: invariance does not track performance; untrained networks can be more invariant than learned or hard-coded ones."""

from collections.abc import Mapping
from typing import Any

from geed.claims.evidence import Evidence
from geed.claims.trial import LAYERWISE, Decision, Outcome, Trial, View, corrected, oriented, roles
from geed.claims.verdicts import CONTRADICTED, FAILS, HOLDS, OPEN, PARTLY, REPRODUCED, any_of, conjunction, sign, verdict
from geed.errors import GeedError
from geed.metrics.registry import check
from geed.stats.bootstrap import Array, Interval
from geed.stats.correlation import bootstrap_correlation

_ROLES = ("untrained", "learned", "hard_coded", "weight_scaled")
_TEST = (
    "(i) The untrained network deviates less than one that learned its invariance in at least one metric, and less than one "
    "whose invariance is hard-coded in at least one (Holm-corrected), and (ii) the rank correlation of accuracy and deviation is "
    "not reliably negative in all metrics (its interval reaches above {min_correlation:g} in at least one)."
)


def K3(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """(i) E(untrained) < E(learned) and < E(hard-coded), each by some metric; (ii) accuracy and deviation are not always opposed.

    The correlation runs over networks and their checkpoints; a resample draws networks (run and seed) with all their checkpoints.
    """
    trial = Trial("K3", settings, evidence, study)
    comparisons, deciding = settings["comparisons"], settings["metrics"]
    metrics = list(dict.fromkeys([*deciding, *settings["shown_metrics"]]))
    trial.stage(metrics, *_ROLES)
    points = {
        (name, metric): [point for run in entry["runs"] for point in _points(trial, run, metric, entry)]
        for name, entry in comparisons.items()
        for metric in metrics
    }
    drawn: dict[tuple, dict[str, Array]] = {}

    def correlations(name: str, metric: str, without: int | None) -> dict[str, Array]:
        """Resampled rank correlations over the networks, without those of a seed; no threshold changes them, so they are kept."""
        if (name, metric, without) not in drawn:
            chosen = [point for point in points[name, metric] if point["seed"] != without]
            drawn[name, metric, without] = bootstrap_correlation(
                [point["accuracy"] for point in chosen],
                [oriented(metric, point["deviation"]) for point in chosen],
                [f"{point['run']}/{point['seed']}" for point in chosen],
                (study, "K3", "networks", name),
                settings["resamples"],
            )
        return drawn[name, metric, without]

    def tests(view: View) -> dict[tuple, float]:
        """Holm-corrected p-values of the differences that decide."""
        differences = view.differences("untrained", minus=("learned", "hard_coded"))
        return corrected(view, {key: draws for key, draws in differences.items() if key[3] in deciding})

    def decide(view: View) -> Decision:
        p, differences = tests(view), view.differences("untrained", minus=_ROLES[1:])
        signs = {key: sign(differences[key][0], p[key], view.level) for key in p}
        states = {role: any_of(*(-value for key, value in signs.items() if key[1] == role)) for role in ("learned", "hard_coded")}
        rho = {at: correlations(*at, view.without)["spearman"] for at in points if at[1] in deciding}
        intervals = {at: view.interval(draws) for at, draws in rho.items()}
        reaches = [_reaches(interval, view.settings["min_correlation"]) for interval in intervals.values()]
        parts = {part: verdict(state) for part, state in (states | {"correlation": any_of(*reaches)}).items()}
        defined = [at for at in intervals if intervals[at].high == intervals[at].high]
        highest = max(defined, key=lambda at: intervals[at].high, default=None)
        notes = [f"The estimate is that of {highest[1]} ({highest[0]})."] if highest else []
        for (name, role, run, metric), value in signs.items():
            if value < 0:
                kind = role.replace("_", "-")
                notes.append(f"{name}: the untrained network is more invariant than {run} ({kind}) by {metric}.")
        untrained = conjunction([parts["learned"], parts["hard_coded"]])
        return Decision(_both(untrained, parts["correlation"]), rho[highest] if highest else None, parts, notes)

    view = trial.view()
    trial.arm_rows(view)
    trial.difference_rows(view, view.differences("untrained", minus=_ROLES[1:]), tests(view))
    for (name, metric), known in points.items():
        cells = {"comparison": name, "group": comparisons[name]["group"], "metric": metric}
        role_of = {run: role for role, run in roles(comparisons[name], *_ROLES)}
        for point in known:
            numbers = {key: point[key] for key in ("seed", "epoch", "accuracy", "n_images")}
            role = role_of.get(point["run"], "trained")
            trial.row("point", point["deviation"], arm=point["run"], role=role, n_seeds=1, **cells, **numbers)
        for statistic, draws in correlations(name, metric, None).items():
            trial.row(statistic, view.interval(draws), **cells)
    return trial.outcome(
        decide,
        estimate_name="rank correlation of accuracy and deviation over networks and checkpoints, highest over metrics",
        test=_TEST.format(**settings),
        thresholds=("min_correlation",),
        floor=view.levels("hard_coded"),
        null=view.levels("untrained"),
    )


def _points(trial: Trial, run: str, metric: str, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One point per seed and epoch of a run: accuracy and deviation (as measured), from the aggregated tables."""
    where = {"group": entry["group"], "evaluation": entry["evaluation"]}
    name, distance = check(trial.resolved(run, metric, **where))
    rows = trial.evidence.values(run)
    rows = rows[(rows["group"] == where["group"]) & (rows["evaluation"] == where["evaluation"]) & (rows["corruption"] == "none")]
    values = rows[(rows["metric"] == name) & (rows["distance"] == distance)]
    if name not in LAYERWISE:
        values = values[values["layer"].isin(trial.whole(run, name, distance, **where))]
    deviation = values.groupby(["seed", "epoch"])[["value", "n_images"]].mean()
    accuracy = rows[rows["metric"] == "accuracy"].groupby(["seed", "epoch"])["value"].mean()
    if deviation.empty or not accuracy.index.equals(deviation.index):
        folder = trial.evidence.folder / run
        raise GeedError(f"{folder}: expected accuracy and {metric} at the same epochs of {where['evaluation']}, found otherwise")
    return [
        {
            "run": run,
            "seed": at[0],
            "epoch": at[1],
            "accuracy": float(accuracy[at]),
            "deviation": row["value"],
            "n_images": row["n_images"],
        }
        for at, row in zip(deviation.index, deviation.to_dict("records"), strict=True)
    ]


def _both(untrained: str, correlation: str) -> str:
    """The verdict from (i) and (ii). That a correlation was not shown to be negative is no part that holds on its own."""
    if untrained == REPRODUCED and correlation != REPRODUCED:
        return PARTLY
    return CONTRADICTED if correlation == CONTRADICTED and untrained != PARTLY else untrained


def _reaches(interval: Interval, threshold: float) -> int:
    """Whether an interval reaches above a threshold; open where there is none."""
    if interval.high != interval.high:
        return OPEN
    return HOLDS if interval.high > threshold else FAILS
