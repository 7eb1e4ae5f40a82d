"""L2: the more accurate a network, the less it deviates from equivariance, across architectures and within them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.gruver.zoo import FLOOR, WHOLE, Zoo, level, log, slope
from geed.claims.statements import condition, judge, over_comparisons
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View
from geed.claims.verdicts import above, below
from geed.seeds import rng
from geed.stats.bootstrap import Array

_TEST = (
    "The slope of the logarithm of the Lie deviation on accuracy, over all networks, lies below {max_slope:g}, and the share of "
    "families in which the slope has that sign lies above {min_families:g}. (The first interval is over networks, too.)"
)


def L2(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """slope(log deviation on accuracy) < max_slope over the zoo, and below 0 in more than min_families of the families."""
    trial = Trial("L2", settings, evidence, study)
    zoo, comparisons = Zoo(trial), settings["comparisons"]
    families = {name: entry["families"] for name, entry in comparisons.items()}
    runs = {name: [run for own in of.values() for run in own] for name, of in families.items()}
    null = {name: entry["untrained"] for name, entry in comparisons.items()}
    zoo.stage({name: [*own, *null[name]] for name, own in runs.items()}, [WHOLE])
    sizes = {name: np.log([[zoo.parameters(name, run)] for run in own]) for name, own in runs.items()}
    drawn = {name: _weights(len(own), settings["resamples"], (study, "L2", name)) for name, own in runs.items()}

    def accuracies(view: View, name: str, own: list[str]) -> Array:
        return np.stack([view.means[name, run, "accuracy"] for run in own])

    def within(view: View, name: str, transform: str) -> dict[str, Array]:
        return {
            family: slope(accuracies(view, name, own), log(view, name, own, transform)) for family, own in families[name].items()
        }

    def statistics(view: View, name: str, transform: str) -> Statistics:
        deviations = log(view, name, runs[name], transform)
        agreeing = np.mean([draws < 0 for draws in within(view, name, transform).values()], axis=0)
        return {
            "slope": slope(accuracies(view, name, runs[name]), deviations, drawn[name]),
            "slope_parameters": slope(sizes[name], deviations, drawn[name]),
            "families": agreeing,
        }

    def found(view: View) -> dict[str, Statistics]:
        return over_comparisons({case: statistics(view, name, transform) for case, name, transform in zoo.cases()})

    def decide(view: View) -> Decision:
        def rule(of: Statistics) -> dict[str, int]:
            return {
                "over all networks": condition(view, of["slope"], below, "max_slope"),
                "within most families": condition(view, of["families"], above, "min_families"),
            }

        return judge(found(view), "slope", rule)

    view = trial.view()
    for case, name, transform in zoo.cases():
        cells = zoo.cells(name, transform)
        for family, own in families[name].items():
            for run in own:
                accuracy = float(view.means[name, run, "accuracy"][0])
                value = view.interval(view.means[name, run, transform, *WHOLE])
                trial.row("deviation", value, role=family, arm=run, accuracy=accuracy, **cells)
            trial.row("family_slope", view.interval(within(view, name, transform)[family]), role=family, **cells)
        for run in null[name]:
            value, accuracy = view.interval(view.means[name, run, transform, *WHOLE]), float(view.means[name, run, "accuracy"][0])
            trial.row("untrained", value, role="untrained", arm=run, accuracy=accuracy, **cells)
        for part, draws in found(view)[case].items():
            trial.row(part, view.interval(draws), **cells)
    for part, draws in found(view)["all"].items():
        trial.row(part, view.interval(draws), comparison="all")
    unlearned = [(name, run, transform) for _, name, transform in zoo.cases() for run in null[name]]
    return trial.outcome(
        decide,
        estimate_name="slope of log Lie deviation on accuracy over the networks (accuracy from 0 to 1)",
        test=_TEST.format(**settings),
        thresholds=("max_slope", "min_families"),
        floor={"/".join(WHOLE): FLOOR},
        null={"/".join(WHOLE): level(view.means[name, run, transform, *WHOLE] for name, run, transform in unlearned)},
        over_networks=True,
    )


def _weights(networks: int, resamples: int, names: tuple[str, ...]) -> Array:
    """How often each network was drawn, (networks, 1 + B); in the estimate each counts once."""
    stream = rng(*names, "networks", networks)
    counts = stream.multinomial(networks, [1 / networks] * networks, size=resamples)
    return np.concatenate([np.ones((1, networks)), counts]).T
