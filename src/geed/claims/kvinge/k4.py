"""K4: pretrained and random initialisations end with different invariance; which is more invariant depends on the distance."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View, corrected, exact
from geed.claims.verdicts import FAILS, HOLDS, OPEN, disjunction, sign, verdict
from geed.errors import GeedError
from geed.stats.bootstrap import Array
from geed.stats.equivalence import equivalent

_TEST = (
    "In some task, the difference pretrained − random is not zero, and has opposite signs by two distances (Holm-corrected); "
    "contradicted where it lies within ±{margin:g} standard deviations by every distance."
)


def K4(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """Two distances disagree on the sign of d.

    d: E(pretrained) - E(random) after the same fine-tuning, by distance, in standard deviations over images (pooled over the two
    networks and their seeds; the scale is held at its estimate).
    """
    trial = Trial("K4", settings, evidence, study)
    comparisons, metrics = settings["comparisons"], settings["metrics"]
    arms = trial.stage(metrics, "pretrained", "random", "equivariant", "untrained")
    if not (deciding := [name for name, entry in comparisons.items() if entry["decides"]]):
        raise GeedError("claims.K4.comparisons: expected at least one that decides, found none")
    scales = {
        (name, metric): float(
            np.sqrt(np.mean([arms[name, role, entry[role], metric].var() for role in ("pretrained", "random")]))
        )
        for name, entry in comparisons.items()
        for metric in metrics
    }

    def differences(view: View) -> Statistics:
        found = view.differences("pretrained", minus=("random",))
        return {(name, metric): draws for (name, _, _, metric), draws in found.items()}

    def standardised(view: View) -> Statistics:
        # Where no image differs from another there is no scale; such a distance is compared in its own units only.
        return {at: draws / scales[at] for at, draws in differences(view).items() if scales[at] > 0}

    def disagreement(view: View, name: str) -> Array | None:
        """The weaker of the two strongest opposite standardised differences."""
        known = [draws for (comparison, _), draws in standardised(view).items() if comparison == name]
        if len(known) < 2:
            return None
        return np.minimum(max(known, key=lambda draws: draws[0]), -min(known, key=lambda draws: draws[0]))

    def tests(view: View) -> dict[tuple, float]:
        """Holm-corrected p-values, one family of the comparisons that decide and one of those that are shown."""
        found = differences(view)
        families = [{key: draws for key, draws in found.items() if (key[0] in deciding) is own} for own in (True, False)]
        return corrected(view, families[0]) | corrected(view, families[1])

    def decide(view: View) -> Decision:
        found, scaled, p = differences(view), standardised(view), tests(view)
        parts, notes = {}, []
        for name in comparisons:
            signs = {metric: sign(found[name, metric][0], p[name, metric], view.level) for metric in metrics}
            same = [
                (name, metric) in scaled and equivalent(view.interval(scaled[name, metric]), view.settings["margin"]) == HOLDS
                for metric in metrics
            ]
            # Equivalence comes first: differences inside the margin are negligible, however reliable.
            rule = FAILS if all(same) else HOLDS if {1, -1} <= set(signs.values()) else OPEN
            parts[name] = verdict(rule, [HOLDS if any(signs.values()) else OPEN])
            less, more = (", ".join(metric for metric in metrics if signs[metric] == way) or "none" for way in (1, -1))
            aside = "" if name in deciding else " (shown, without a say in the verdict)"
            notes.append(f"{name}{aside}: pretrained is less invariant by: {less}; more invariant by: {more}.")
        strengths = [draws for name in deciding if (draws := disagreement(view, name)) is not None]
        headline = max(strengths, key=lambda draws: draws[0], default=None)
        return Decision(disjunction(parts[name] for name in deciding), headline, parts, notes)

    view = trial.view()
    trial.arm_rows(view)
    p = tests(view)
    for part, found in (("difference", differences(view)), ("standardised", standardised(view))):
        for (name, metric), draws in found.items():
            cells = {"comparison": name, "group": comparisons[name]["group"], "metric": metric}
            trial.row(part, view.interval(draws), p_holm=p[name, metric], **cells)
    for name, entry in comparisons.items():
        if (draws := disagreement(view, name)) is not None:
            trial.row("disagreement", view.interval(draws), comparison=name, group=entry["group"])
    return trial.outcome(
        decide,
        estimate_name="the weaker of the two strongest opposite differences pretrained − random, in standard deviations over "
        "images (above 0: two distances disagree in sign)",
        test=_TEST.format(**settings),
        thresholds=("margin",),
        floor=view.levels("equivariant") or {metric: value for metric in metrics if (value := exact(metric)) is not None},
        null=view.levels("untrained"),
    )
