"""M2: regularising a network for invariance brings it to the invariance of a weight-tied one, reliably under shift."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.moskalev.arms import ACCURACY, DI, LI, ROLES, SI, Networks, levels
from geed.claims.statements import condition, judge, over_comparisons
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View
from geed.claims.verdicts import above, below
from geed.stats.bootstrap import Array

_TEST = (
    "The regularised network's saliency similarity SI is above {min_similarity:g}, its LI below {max_logit_ratio:g} times that "
    "of the augmented network, and its DI below {max_shift_ratio:g} times that of the augmented network at every share of the "
    "other domain (intervals; the last of the largest ratio)."
)


def M2(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """SI above its threshold; the ratios of LI and, at the worst share of the other domain, of DI below theirs.

    Parts of the verdict: `saliency`, `logits`, `shift`; all of them, or `partly`. The parts table is the paper's Table 1.
    """
    trial = Trial("M2", settings, evidence, study)
    networks, comparisons = Networks(trial), settings["comparisons"]
    shares = {name: networks.shares(name) for name in comparisons}
    for metric, evaluation in ((ACCURACY, "evaluation"), (LI, "evaluation"), (DI, "evaluation"), (SI, "saliency")):
        networks.stage(metric, evaluation, ROLES)
    networks.stage(DI, "shift", ("augmented", "regularised"))

    def ratio(view: View, name: str, metric: str, evaluation: str, share: int = 0) -> Array | None:
        ours, theirs = (view.means[name, role, metric, evaluation, share] for role in ("regularised", "augmented"))
        return view.ratio(ours, theirs, 0.0)

    def statistics(view: View, name: str) -> Statistics:
        under_shift = [ratio(view, name, DI, "shift", share) for share in shares[name]]
        known = all(draws is not None for draws in under_shift)
        return {
            "similarity": view.means[name, "regularised", SI, "saliency", 0],
            "logit_ratio": ratio(view, name, LI, "evaluation"),
            "shift_ratio": np.max(under_shift, axis=0) if known else None,
        }

    def decide(view: View) -> Decision:
        found = over_comparisons({name: statistics(view, name) for name in comparisons})

        def rule(of: Statistics) -> dict[str, int]:
            return {
                "saliency": condition(view, of["similarity"], above, "min_similarity"),
                "logits": condition(view, of["logit_ratio"], below, "max_logit_ratio"),
                "shift": condition(view, of["shift_ratio"], below, "max_shift_ratio"),
            }

        notes = [
            f"{name}: no ratio of {words}, because that of the augmented network is not reliably above 0."
            for name in comparisons
            for part, words in (("logit_ratio", "LI"), ("shift_ratio", "DI at every share"))
            if found[name][part] is None
        ]
        return judge(found, "logit_ratio", rule, notes)

    view = trial.view()
    found = over_comparisons({name: statistics(view, name) for name in comparisons})
    networks.statistic_rows(view, found, {"similarity": SI, "logit_ratio": LI, "shift_ratio": DI})
    for key in view.means:
        networks.row("shift" if key[3] == "shift" else "level", view, key)
    return trial.outcome(
        decide,
        estimate_name="LI of the regularised network ÷ that of the augmented one",
        test=_TEST.format(**settings),
        thresholds=("min_similarity", "max_logit_ratio", "max_shift_ratio"),
        floor=levels(view, "tied", {SI: "saliency", LI: "evaluation", DI: "evaluation"}),
        null={},
    )
