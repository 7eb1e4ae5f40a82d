"""L3: trained transformers can deviate less from equivariance than convolutional networks of the same accuracy."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.gruver.zoo import FINITE, FLOOR, WHOLE, Zoo, level, log
from geed.claims.trial import Decision, Outcome, Trial, View, corrected, mean
from geed.claims.verdicts import FAILS, HOLDS, OPEN, all_of, any_of, below, sign, verdict
from geed.stats.bootstrap import Array

_ROLES = ("transformers", "cnns", "untrained_transformers", "untrained_cnns")
_TEST = (
    "For at least one transformation, the logarithm of the Lie deviation of trained transformers − that of trained convolutional "
    "networks within {max_accuracy_gap:g} of their accuracy lies below {max_difference:g} (Holm-corrected over transformations), "
    "and that of untrained ones does not (interval)."
)


def L3(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """Mean over matched pairs of log deviation(transformer) - log deviation(CNN) < 0 where trained, and not where untrained."""
    trial = Trial("L3", settings, evidence, study)
    zoo, comparisons = Zoo(trial), settings["comparisons"]
    runs = {name: [run for role in _ROLES for run in entry[role]] for name, entry in comparisons.items()}
    zoo.stage(runs, [WHOLE])
    steps = {name: zoo.steps(name, own[0]) for name, own in runs.items()}
    for name, own in runs.items():
        zoo.stage({name: own}, [(FINITE, step) for step in steps[name]])

    def pairs(view: View, name: str) -> list[tuple[str, str]]:
        return _matched(trial.accuracies, comparisons[name], view.settings["max_accuracy_gap"])

    def difference(view: View, name: str, transform: str) -> Array | None:
        if not pairs(view, name):
            return None
        first, second = zip(*pairs(view, name), strict=True)
        return (log(view, name, first, transform) - log(view, name, second, transform)).mean(axis=0)

    def untrained(view: View, name: str, transform: str) -> Array:
        entry = comparisons[name]
        first, second = (log(view, name, entry[f"untrained_{role}"], transform) for role in ("transformers", "cnns"))
        return first.mean(axis=0) - second.mean(axis=0)

    def tests(view: View) -> dict[tuple, tuple[Array, float]]:
        found = {(name, transform): difference(view, name, transform) for _, name, transform in zoo.cases()}
        found = {key: draws - view.settings["max_difference"] for key, draws in found.items() if draws is not None}
        return {key: (found[key], p) for key, p in corrected(view, found).items()} if found else {}

    def decide(view: View) -> Decision:
        tested, conditions, notes = tests(view), {}, []
        for case, name, transform in zoo.cases():
            draws, p = tested.get((name, transform), (None, 1.0))
            trained = OPEN if draws is None else -sign(draws[0], p, view.level)
            already = below(view.interval(untrained(view, name, transform)), view.settings["max_difference"]) == HOLDS
            conditions[case] = all_of(trained, FAILS if already else HOLDS)
        gap = view.settings["max_accuracy_gap"]
        notes += [
            f"{name}: no transformer is within {gap:g} of a CNN's accuracy." for name in comparisons if not pairs(view, name)
        ]
        headline = mean(difference(view, name, transform) for _, name, transform in zoo.cases())
        parts = {case: verdict(value) for case, value in conditions.items()}
        return Decision(verdict(any_of(*conditions.values())), headline, parts, notes)

    view = trial.view()
    tested = tests(view)
    for _, name, transform in zoo.cases():
        cells = zoo.cells(name, transform)
        matched = {run for pair in pairs(view, name) for run in pair}
        for role in _ROLES:
            own = comparisons[name][role]
            for run in own:
                value = view.interval(view.means[name, run, transform, *WHOLE])
                trial.row("deviation", value, role=role, arm=run, accuracy=trial.accuracies[run], **cells)
            shown = own if role.startswith("untrained") else [run for run in own if run in matched]
            if shown:
                trial.row("limit", view.interval(log(view, name, shown, transform).mean(axis=0)), role=role, **cells)
            for step in steps[name] if shown else ():
                draws = np.mean([np.log(view.means[name, run, transform, FINITE, step]) for run in shown], axis=0)
                trial.row("finite", view.interval(draws), role=role, epsilon=float(step), **cells)
        if (name, transform) in tested:
            draws = difference(view, name, transform)
            trial.row("difference", view.interval(draws), role="transformers", p_holm=tested[name, transform][1], **cells)
        trial.row("difference", view.interval(untrained(view, name, transform)), role="untrained_transformers", **cells)
    unlearned = [
        (name, run, transform)
        for _, name, transform in zoo.cases()
        for role in _ROLES
        if role.startswith("untrained")
        for run in comparisons[name][role]
    ]
    return trial.outcome(
        decide,
        estimate_name="log Lie deviation, transformers − CNNs of the same accuracy, mean over transformations",
        test=_TEST.format(**settings),
        thresholds=("max_accuracy_gap", "max_difference"),
        floor={"/".join(WHOLE): FLOOR},
        null={"/".join(WHOLE): level(view.means[name, run, transform, *WHOLE] for name, run, transform in unlearned)},
    )


def _matched(accuracies: Mapping[str, float], entry: Mapping[str, Any], gap: float) -> list[tuple[str, str]]:
    """Pairs of a transformer and a CNN whose mean accuracies differ by at most `gap`."""
    return [
        (first, second)
        for first in entry["transformers"]
        for second in entry["cnns"]
        if abs(accuracies[first] - accuracies[second]) <= gap
    ]
