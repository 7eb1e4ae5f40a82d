"""K1: augmentation makes the output invariant, but not by way of equivariant layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View, mean, oriented
from geed.claims.verdicts import OPEN, above, below, given, overall, verdict
from geed.errors import GeedError
from geed.metrics.registry import check
from geed.stats.bootstrap import Array

_TEST = (
    "Although the output became invariant (share o: interval starts above {min_output_share:g}), the layers did not become "
    "equivariant (mean share s over the layers but the last: interval ends below {max_layer_share:g})."
)


def K1(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """Although o is large, s is small.

    s: mean over layers (the last before pooling apart) of the share (plain - augmented) / (plain - equivariant, field-aware).
    o: the same share for the output.
    """
    trial = Trial("K1", settings, evidence, study)
    comparisons = settings["comparisons"]
    layers = {name: _stage(trial, name, entry) for name, entry in comparisons.items()}

    def statistics(view: View) -> Statistics:
        found: Statistics = {}
        for name, matched in layers.items():

            def share(layer: str, match: str, metric: str, gap: str, name: str = name) -> Array | None:
                arms = (
                    view.means[name, "plain", layer],
                    view.means[name, "augmented", layer],
                    view.means[name, "equivariant", match],
                )
                plain, augmented, equivariant = (oriented(view.settings[metric], draws) for draws in arms)
                return view.ratio(plain - augmented, plain - equivariant, view.settings[gap])

            for layer, match in matched.items():
                found["layer_share", name, layer] = share(layer, match, "layer_metric", "min_layer_gap")
            found["share", name, ""] = mean(found["layer_share", name, layer] for layer in list(matched)[:-1])
            found["output_share", name, ""] = share("output", "output", "output_metric", "min_output_gap")
        parts = ("share", "output_share")
        both = [name for name in layers if all(found[part, name, ""] is not None for part in parts)]
        return found | {(part, "all", ""): mean(found[part, name, ""] for name in both) for part in parts}

    def rule(view: View, s: Array | None, o: Array | None) -> str:
        small = OPEN if s is None else below(view.interval(s), view.settings["max_layer_share"])
        large = OPEN if o is None else above(view.interval(o), view.settings["min_output_share"])
        # That the layers stayed as they were is a part of the claim on its own, unless the output reliably did so too.
        return verdict(given(large, small), [small if large == OPEN else OPEN])

    def decide(view: View) -> Decision:
        found = statistics(view)
        parts = {name: rule(view, found["share", name, ""], found["output_share", name, ""]) for name in [*layers, "all"]}
        notes = [
            f"{name}: no share of the {what}, because plain − equivariant is not reliably above {view.settings[gap]:g}."
            for name in layers
            for part, what, gap in (("share", "layers", "min_layer_gap"), ("output_share", "output", "min_output_gap"))
            if found[part, name, ""] is None
        ]
        return Decision(overall(parts.pop("all"), parts.values()), found["share", "all", ""], parts, notes)

    view = trial.view()
    for (part, name, layer), draws in statistics(view).items():
        if draws is not None:
            entry = comparisons.get(name, {})
            cells = {"group": entry.get("group", ""), "arm": entry.get("augmented", "")}
            if layer:
                cells |= {"layer": layer, "depth": dict(_layers(trial, entry, "plain"))[layer]}
            metric = settings["output_metric" if part == "output_share" else "layer_metric"]
            trial.row(part, view.interval(draws), comparison=name, metric=metric, **cells)
    for key, draws in view.means.items():
        name, role, layer = key
        entry, whole = comparisons[name], layer in ("output", "accuracy")
        cells = {"group": entry["group"], "role": role, "arm": entry[role.removesuffix("_raw")], "domain": entry["evaluation"]}
        cells |= {"depth": 1.0} if whole else {"layer": layer, "depth": dict(_layers(trial, entry, role))[layer]}
        metric = settings["field_metric" if role == "equivariant" else "layer_metric"]
        metric = {"output": settings["output_metric"], "accuracy": "accuracy"}.get(layer, metric)
        part = layer if whole else "deviation"
        trial.row(part, view.interval(draws), comparison=name, metric=metric, n_images=trial.size(key), **cells)

    def level(role: str) -> dict[str, float]:
        of_role = {key: draws[0] for key, draws in view.means.items() if key[1] == role and key[2] != "accuracy"}
        return {
            settings[metric]: float(np.mean([value for key, value in of_role.items() if (key[2] == "output") == whole]))
            for metric, whole in (("layer_metric", False), ("output_metric", True))
        }

    return trial.outcome(
        decide,
        estimate_name="s, the share of the equivariant network's layerwise equivariance that augmentation gives",
        test=_TEST.format(**settings),
        thresholds=("max_layer_share", "min_output_share", "min_layer_gap", "min_output_gap"),
        floor=level("equivariant"),
        null=level("untrained"),
    )


def _layers(trial: Trial, entry: Mapping[str, Any], role: str) -> list[tuple[str, float]]:
    """The convolutional layers of a role, with relative depths."""
    where = {"group": entry["group"], "evaluation": entry["evaluation"]}
    run = entry[role.removesuffix("_raw")]
    metric = trial.settings["field_metric" if role == "equivariant" else "layer_metric"]
    return trial.evidence.layers(run, *check(trial.resolved(run, metric, **where)), **where)


def _stage(trial: Trial, name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """Stage the arms of a comparison; returns plain layer -> equivariant layer nearest in depth, shallow first."""
    where = {"group": entry["group"], "evaluation": entry["evaluation"]}
    for role in ("plain", "augmented", "equivariant", "equivariant_raw", "untrained"):
        run = entry[role.removesuffix("_raw")]
        metric = trial.settings["field_metric" if role == "equivariant" else "layer_metric"]
        for layer, _ in _layers(trial, entry, role):
            trial.arm((name, role, layer), run, metric, layer=layer, **where)
        if role != "equivariant_raw":
            trial.arm((name, role, "output"), run, trial.settings["output_metric"], **where)
            trial.arm((name, role, "accuracy"), run, "accuracy", **where)
            trial.note_accuracy(run, **where)
    plain, equivariant = _layers(trial, entry, "plain"), _layers(trial, entry, "equivariant")
    if _layers(trial, entry, "augmented") != plain:
        place = f"claims.K1.comparisons.{name}.augmented"
        raise GeedError(f"{place}: expected a run with the layers of {entry['plain']}, found others in {entry['augmented']}")
    return {layer: min(equivariant, key=lambda other: abs(other[1] - depth))[0] for layer, depth in plain}
