"""K2: learned invariance generalises mildly to corruptions (a); on far images, apparent invariance can be insensitivity (b)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View, exact, mean
from geed.claims.verdicts import FAILS, HOLDS, OPEN, below, between, conjunction, given, overall, verdict
from geed.errors import GeedError
from geed.stats.bootstrap import Array

_TEST = (
    "(a) r lies between {min_ratio:g} and {max_ratio:g}, and its slope per step of severity is below {max_trend:g} (intervals). "
    "(b) Although the augmented network's deviation does not rise on far images (far ÷ in-domain: interval ends below "
    "{max_deviation_ratio:g}), the dispersion of its outputs falls (far ÷ in-domain: interval ends below "
    "{max_dispersion_ratio:g})."
)


def K2(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """(a) 0 < r < 1, falling with severity; (b) far-OOD deviation that does not rise goes with dispersion that falls.

    r: (plain - augmented) on corrupted images, mean over corruptions and severities, divided by the same on clean images.
    (b) compares the augmented network's deviation, and the dispersion of its outputs over images, far against in-domain. Near
    domains are shown beside the far ones, without a say.
    """
    trial = Trial("K2", settings, evidence, study)
    comparisons = settings["comparisons"]
    if exact(settings["metric"]) != 0:
        raise GeedError(
            f"claims.K2.metric: expected a deviation that is 0 for an invariant network, for ratios, found {settings['metric']}"
        )
    conditions = {name: _stage(trial, name, entry) for name, entry in comparisons.items()}
    far = [(name, domain) for name, entry in comparisons.items() for domain in entry["far"]]
    near = [(name, domain) for name, entry in comparisons.items() for domain in entry["near"]]

    def statistics(view: View) -> Statistics:
        """(part, comparison, domain, corruption, severity) -> draws; None as severity is the mean over severities."""
        found: Statistics = {}
        for name, known in conditions.items():

            def gain(*where: Any, name: str = name) -> Array:
                plain, augmented = (view.means[name, role, "deviation", *where] for role in ("plain", "augmented"))
                return plain - augmented

            clean = gain("clean", "none", 0)
            r = {at: view.ratio(gain("corrupted", *at), clean, view.settings["min_clean_gap"]) for at in known}
            found |= {("ratio", name, "corrupted", *at): draws for at, draws in r.items()}
            for corruption in dict.fromkeys(corruption for corruption, _ in known):
                found["ratio", name, "corrupted", corruption, None] = mean(r[at] for at in known if at[0] == corruption)
            for severity in sorted({severity for _, severity in known}):
                found["ratio", name, "corrupted", "all", severity] = mean(r[at] for at in known if at[1] == severity)
            found["ratio", name, "corrupted", "all", None] = mean(r.values())
            found["trend", name, "corrupted", "all", None] = _slope(r)
        for name, domain in [*near, *far]:
            for part in ("deviation", "dispersion"):
                there, here = (view.means[name, "augmented", part, place, "none", 0] for place in (domain, "clean"))
                found[f"{part}_ratio", name, domain, "none", None] = view.ratio(there, here, 0.0)
        for part in ("ratio", "trend"):
            found[part, "all", "corrupted", "all", None] = mean(
                found[part, name, "corrupted", "all", None] for name in conditions
            )
        for part in ("deviation_ratio", "dispersion_ratio"):
            found[part, "all", "far", "none", None] = mean(found[part, name, domain, "none", None] for name, domain in far)
        return found

    def rule_a(view: View, r: Array | None, trend: Array | None) -> str:
        bounds = view.settings["min_ratio"], view.settings["max_ratio"]
        mild = OPEN if r is None else between(view.interval(r), *bounds)
        falls = OPEN if trend is None else below(view.interval(trend), view.settings["max_trend"])
        # A reliable r outside its bounds contradicts; a trend that is not reliable, or is contrary, only leaves a part standing.
        return verdict(OPEN if mild == HOLDS and falls != HOLDS else mild, [mild])

    def rule_b(view: View, deviation: Array | None, dispersion: Array | None) -> str:
        apparent = OPEN if deviation is None else below(view.interval(deviation), view.settings["max_deviation_ratio"])
        insensitive = OPEN if dispersion is None else below(view.interval(dispersion), view.settings["max_dispersion_ratio"])
        return verdict(given(apparent, insensitive))

    def decide(view: View) -> Decision:
        found, notes = statistics(view), []
        a = {
            name: rule_a(view, *(found[part, name, "corrupted", "all", None] for part in ("ratio", "trend")))
            for name in [*conditions, "all"]
        }
        b = {
            where: rule_b(view, *(found[f"{part}_ratio", *where, "none", None] for part in ("deviation", "dispersion")))
            for where in [*far, ("all", "far")]
        }
        parts = {"K2a": overall(a.pop("all"), a.values()), "K2b": overall(b.pop(("all", "far")), b.values())}
        parts |= {f"K2a {name}": part for name, part in a.items()}
        parts |= {f"K2b {name}, {domain}": part for (name, domain), part in b.items()}
        for name in conditions:
            if found["ratio", name, "corrupted", "all", None] is None:
                gap = view.settings["min_clean_gap"]
                notes.append(f"{name}: no ratio, because plain − augmented on clean images is not reliably above {gap:g}.")
        for name, domain in far:
            deviation = found["deviation_ratio", name, domain, "none", None]
            if deviation is not None and below(view.interval(deviation), view.settings["max_deviation_ratio"]) == FAILS:
                notes.append(f"{name}, {domain}: there is no apparent invariance to explain, because the deviation rises.")
        return Decision(conjunction([parts["K2a"], parts["K2b"]]), found["ratio", "all", "corrupted", "all", None], parts, notes)

    view = trial.view()
    for (part, name, domain, corruption, severity), draws in statistics(view).items():
        if draws is not None:
            entry = comparisons.get(name, {})
            cells = {"comparison": name, "group": entry.get("group", ""), "arm": entry.get("augmented", "")}
            cells |= {"domain": _evaluation(entry, domain), "corruption": corruption, "severity": severity}
            metric = settings["dispersion_metric" if part == "dispersion_ratio" else "metric"]
            trial.row(part, view.interval(draws), metric=metric, **cells)
    for key, draws in {**view.means, **_over_corruptions(view.means)}.items():
        name, role, part, domain, corruption, severity = key
        entry = comparisons[name]
        size = trial.size((*key[:4], *conditions[name][0]) if domain == "corrupted" else key)
        cells = {"comparison": name, "group": entry["group"], "role": role, "arm": entry[role], "n_images": size}
        cells |= {"domain": _evaluation(entry, domain), "corruption": corruption, "severity": severity}
        cells |= {"metric": {"deviation": settings["metric"], "dispersion": settings["dispersion_metric"]}.get(part, part)}
        trial.row(part if part in ("deviation", "dispersion") else "shown", view.interval(draws), **cells)

    def level(role: str) -> dict[str, float]:
        clean = [draws[0] for key, draws in view.means.items() if key[1:4] == (role, "deviation", "clean")]
        return {settings["metric"]: float(np.mean(clean))} if clean else {}

    return trial.outcome(
        decide,
        estimate_name="r, the advantage of augmentation on corrupted images ÷ on clean ones",
        test=_TEST.format(**settings),
        thresholds=("min_ratio", "max_ratio", "max_trend", "min_clean_gap", "max_deviation_ratio", "max_dispersion_ratio"),
        floor=level("equivariant"),
        null=level("untrained"),
    )


def _evaluation(entry: Mapping[str, Any], domain: str) -> str:
    """The name of the evaluation of a domain: "clean", "corrupted", or another one, which goes by its name."""
    return {"clean": entry.get("evaluation"), "corrupted": entry.get("corrupted")}.get(domain) or domain


def _stage(trial: Trial, name: str, entry: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Stage the arms of a comparison; returns its corruptions and severities."""
    settings, evidence = trial.settings, trial.evidence
    evidence.images(entry["plain"], entry["corrupted"])  # says which evaluation is missing
    conditions = evidence.conditions(entry["plain"], entry["corrupted"])
    for role in ("plain", "augmented", "equivariant", "untrained"):
        if (run := entry.get(role)) is None:
            continue
        for domain in ("clean", "corrupted", *entry["near"], *entry["far"]):
            where = {"group": entry["group"], "evaluation": _evaluation(entry, domain)}
            wanted = {"deviation": settings["metric"]}
            if domain != "corrupted":
                wanted |= {
                    "dispersion": settings["dispersion_metric"],
                    **{metric: metric for metric in settings["shown_metrics"]},
                }
            for part, metric in wanted.items():
                # What is only shown may have been measured in fewer places; what decides must be there.
                decides = role in ("plain", "augmented") and part in ("deviation", "dispersion")
                if decides or trial.has(run, metric, **where):
                    for corruption, severity in conditions if domain == "corrupted" else [("none", 0)]:
                        at = {"corruption": corruption, "severity": severity}
                        trial.arm((name, role, part, domain, corruption, severity), run, metric, **where, **at)
        trial.note_accuracy(run, group=entry["group"], evaluation=entry["evaluation"])
    return conditions


def _over_corruptions(means: Mapping[tuple, Array]) -> Statistics:
    """Arm means on corrupted images, averaged over corruptions at each severity and over all of them (severity None)."""
    found: dict[tuple, list[Array]] = {}
    for (name, role, part, domain, _, severity), draws in means.items():
        if domain == "corrupted":
            for step in (severity, None):
                found.setdefault((name, role, part, domain, "all", step), []).append(draws)
    return {key: np.mean(draws, axis=0) for key, draws in found.items()}


def _slope(r: Mapping[tuple[str, int], Array | None]) -> Array | None:
    """Least-squares slope of r per step of severity; None where r is not defined or there is one severity."""
    severities = np.array([severity for _, severity in r], dtype=np.float64)
    steps = severities - severities.mean()
    draws = [value for value in r.values() if value is not None]
    if len(draws) < len(r) or not steps.any():
        return None
    return np.tensordot(steps / (steps**2).sum(), np.stack(draws), axes=1)
