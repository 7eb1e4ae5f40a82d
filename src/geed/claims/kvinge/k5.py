"""K5: self-supervised networks are not more invariant than supervised ones, but for contrastive ones augmented from the group."""

from collections.abc import Mapping
from typing import Any

from geed.claims.evidence import Evidence
from geed.claims.trial import Decision, Outcome, Trial, View, corrected, mean, roles
from geed.claims.verdicts import HOLDS, OPEN, conjunction, sign, verdict
from geed.errors import GeedError
from geed.metrics.registry import check

_ROLES = ("supervised", "contrastive", "others", "shown", "equivariant", "untrained")
_RIVALS = ("contrastive", "other")
_TEST = (
    "The contrastive network with augmentation from the group deviates less than the supervised one (difference above "
    "{min_difference:g}, Holm-corrected), and no other self-supervised network does."
)


def K5(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """D > 0 for the contrastive network with augmentation from the group, and for no other self-supervised one.

    d: E(supervised) - E(arm) of the features, at the same layer.
    """
    trial = Trial("K5", settings, evidence, study)
    comparisons = settings["comparisons"]
    for name, entry in comparisons.items():
        _check_layers(trial, name, entry)
    shown = dict.fromkeys(settings["shown_metrics"])
    trial.stage(dict.fromkeys([settings["metric"], *shown]), *_ROLES)

    def tests(view: View) -> dict[tuple, float]:
        """Holm-corrected p-values of the differences that decide, against the smallest difference that counts."""
        found = view.differences("supervised", minus=_RIVALS)
        return corrected(
            view,
            {key: draws - view.settings["min_difference"] for key, draws in found.items() if key[3] == view.settings["metric"]},
        )

    def decide(view: View) -> Decision:
        p, found = tests(view), view.differences("supervised", minus=_RIVALS)
        signs = {key: sign(found[key][0] - view.settings["min_difference"], p[key], view.level) for key in p}
        parts, notes = {}, []
        for name in comparisons:
            contrastive = next(value for key, value in signs.items() if key[:2] == (name, "contrastive"))
            rivals = [key[2] for key, value in signs.items() if key[:2] == (name, "other") and value == HOLDS]
            parts[name] = verdict(OPEN if contrastive == HOLDS and rivals else contrastive, [contrastive])
            if rivals:
                notes.append(f"{name}: also more invariant than the supervised network: {', '.join(rivals)}.")
        return Decision(conjunction(parts.values()), mean(found[key] for key in p if key[1] == "contrastive"), parts, notes)

    view = trial.view()
    trial.arm_rows(view)
    trial.difference_rows(
        view, view.differences("supervised", minus=("contrastive", "other", "shown", "equivariant", "untrained")), tests(view)
    )
    return trial.outcome(
        decide,
        estimate_name=f"d, {settings['metric']} of the supervised network − that of the contrastive one with augmentation from "
        "the group",
        test=_TEST.format(**settings),
        thresholds=("min_difference",),
        alternatives={"metric": shown},
        floor=view.levels("equivariant"),
        null=view.levels("untrained"),
    )


def _check_layers(trial: Trial, name: str, entry: Mapping[str, Any]) -> None:
    where = {"group": entry["group"], "evaluation": entry["evaluation"]}
    metric = check(trial.settings["metric"])
    expected = trial.whole(entry["supervised"], *metric, **where)
    for role, run in roles(entry, "contrastive", "others"):
        if (found := trial.whole(run, *metric, **where)) != expected:
            place = f"claims.K5.comparisons.{name}.{role}"
            raise GeedError(
                f"{place}: expected features at layer {expected[0]}, as of {entry['supervised']}, found {found[0]} of {run}"
            )
