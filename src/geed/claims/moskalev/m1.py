"""M1: a network that classifies an orbit correctly, having been trained on it, does not attain genuine invariance."""

from collections.abc import Mapping
from typing import Any

from geed.claims.evidence import Evidence
from geed.claims.moskalev.arms import ACCURACY, DI, LI, SI, Networks, levels
from geed.claims.statements import condition, judge, over_comparisons
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View
from geed.claims.verdicts import HOLDS, above, below, given

_SHOWN = ("augmented", "tied", "regularised")  # the three networks of the paper's Figure 4
_TEST = (
    "Although the augmented network classifies (accuracy of the weight-tied − its own: interval ends below "
    "{max_accuracy_gap:g}), its saliency similarity SI is below {max_similarity:g}, its LI more than {min_logit_ratio:g} times "
    "that of the regularised network, and its DI rises by more than {min_shift_rise:g} nats from no blending to the largest "
    "share of the other domain (intervals)."
)


def M1(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """SI below and LI above their thresholds, DI rising under shift, for a network as accurate as the weight-tied one.

    Parts of the verdict: `saliency`, `logits`, `shift`; all of them, or `partly`.
    """
    trial = Trial("M1", settings, evidence, study)
    networks = Networks(trial)
    comparisons = settings["comparisons"]
    shares = {name: networks.shares(name) for name in comparisons}
    networks.stage(ACCURACY, "evaluation", ("augmented", "tied"))
    networks.stage(SI, "saliency", _SHOWN)
    networks.stage(LI, "evaluation", _SHOWN)
    for metric in (DI, ACCURACY):
        networks.stage(metric, "shift", _SHOWN)

    def statistics(view: View, name: str) -> Statistics:
        def of(role: str, metric: str, evaluation: str = "evaluation", share: int = 0) -> Any:
            return view.means[name, role, metric, evaluation, share]

        first, last = shares[name][0], shares[name][-1]
        return {
            "accuracy_gap": of("tied", ACCURACY) - of("augmented", ACCURACY),
            "similarity": of("augmented", SI, "saliency"),
            "logit_ratio": view.ratio(of("augmented", LI), of("regularised", LI), 0.0),
            "shift_rise": of("augmented", DI, "shift", last) - of("augmented", DI, "shift", first),
        }

    def decide(view: View) -> Decision:
        found = over_comparisons({name: statistics(view, name) for name in comparisons})

        def classifies(of: Statistics) -> int:
            return condition(view, of["accuracy_gap"], below, "max_accuracy_gap")

        def rule(of: Statistics) -> dict[str, int]:
            stated = {
                "saliency": condition(view, of["similarity"], below, "max_similarity"),
                "logits": condition(view, of["logit_ratio"], above, "min_logit_ratio"),
                "shift": condition(view, of["shift_rise"], above, "min_shift_rise"),
            }
            return {name: given(classifies(of), own) for name, own in stated.items()}

        notes = []
        for name in comparisons:
            if classifies(found[name]) != HOLDS:
                notes.append(
                    f"{name}: the augmented network is not reliably as accurate as the weight-tied one: nothing is tested."
                )
            if found[name]["logit_ratio"] is None:
                notes.append(f"{name}: no ratio of LI, because that of the regularised network is not reliably above 0.")
        return judge(found, "similarity", rule, notes)

    view = trial.view()
    found = over_comparisons({name: statistics(view, name) for name in comparisons})
    of_metric = {"accuracy_gap": ACCURACY, "similarity": SI, "logit_ratio": LI, "shift_rise": DI}
    networks.statistic_rows(view, found, of_metric)
    for key in view.means:
        networks.row("shift" if key[3] == "shift" else "level", view, key)
    for name in comparisons:
        for role in _SHOWN:
            start = view.means[name, role, ACCURACY, "shift", shares[name][0]]
            for share in shares[name]:
                relative = view.ratio(view.means[name, role, ACCURACY, "shift", share], start, 0.0)
                if relative is not None:
                    cells = {**networks.cells(name, role), "domain": comparisons[name]["shift"], "corruption": "blend"}
                    cells |= {"severity": share, "n_images": trial.size((name, role, ACCURACY, "shift", share))}
                    trial.row("relative_accuracy", view.interval(relative), metric=ACCURACY, **cells)
    return trial.outcome(
        decide,
        estimate_name="SI of the augmented network",
        test=_TEST.format(**settings),
        thresholds=("max_accuracy_gap", "max_similarity", "min_logit_ratio", "min_shift_rise"),
        floor=levels(view, "tied", {SI: "saliency", LI: "evaluation"}),
        null={},
    )
