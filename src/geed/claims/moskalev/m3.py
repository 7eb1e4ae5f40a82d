"""M3: the regularised networks become invariant by spectral decay, which is insensitivity to any perturbation."""

from collections.abc import Mapping
from typing import Any

from geed.claims.evidence import Evidence
from geed.claims.moskalev.arms import ACCURACY, NORM, REGULARISED, ROLES, Networks, levels
from geed.claims.statements import condition, judge, over_comparisons
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View
from geed.claims.verdicts import below

_TEST = (
    "Each of the three regularised networks has a largest singular value of the Jacobian, mean over images, below "
    "{max_norm_ratio:g} times that of the augmented network (intervals; each must hold, so none is corrected for the others)."
)


def M3(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """sigma_max(regularised) / sigma_max(augmented) below its threshold, for each of the three regularisers.

    Parts of the verdict: the regularisers; all of them, or `partly`.
    """
    trial = Trial("M3", settings, evidence, study)
    networks, comparisons = Networks(trial), settings["comparisons"]
    networks.stage(NORM, "spectrum", ROLES)
    networks.stage(ACCURACY, "evaluation", ROLES)

    def statistics(view: View, name: str) -> Statistics:
        norms = {role: view.means[name, role, NORM, "spectrum", 0] for role in ROLES}
        return {role: view.ratio(norms[role], norms["augmented"], 0.0) for role in REGULARISED}

    def decide(view: View) -> Decision:
        found = over_comparisons({name: statistics(view, name) for name in comparisons})

        def rule(of: Statistics) -> dict[str, int]:
            return {role: condition(view, of[role], below, "max_norm_ratio") for role in REGULARISED}

        return judge(found, "regularised", rule)

    view = trial.view()
    for name, ratios in over_comparisons({name: statistics(view, name) for name in comparisons}).items():
        for role, draws in ratios.items():
            if draws is not None:
                trial.row("norm_ratio", view.interval(draws), **networks.cells(name, role), metric=NORM)
    for key in view.means:
        networks.row("level", view, key)
    return trial.outcome(
        decide,
        estimate_name="largest singular value of the Jacobian, regularised by LI ÷ augmented",
        test=_TEST.format(**settings),
        thresholds=("max_norm_ratio",),
        floor=levels(view, "tied", {NORM: "spectrum"}),
        null={},
    )
