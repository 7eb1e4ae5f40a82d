"""L1: equivariance is broken by pointwise non-linearities, pooling and strides, and anti-aliasing repairs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.gruver.zoo import FLOOR, LAYERWISE, Zoo, level
from geed.claims.statements import condition, judge, over_comparisons
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View
from geed.claims.verdicts import above, below
from geed.lie.transforms import TYPES
from geed.stats.bootstrap import Array

ALIASING = ("activation", "pooling", "strided_convolution", "patch_embedding")
_WITHOUT_PATCHES = tuple(kind for kind in ALIASING if kind != "patch_embedding")
_CONTROLS = ("anti_aliased", "stride_free")
_TEST = (
    "Pointwise non-linearities, pooling and strided convolutions (patch embeddings among them) have a share above {min_share:g} "
    "of the layerwise Lie deviation (mean over networks), and the logarithm of the anti-aliased network's total ÷ the strided "
    "one's lies below {max_change:g}."
)


def L1(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """Share > min_share and log(total of the anti-aliased / total of the strided network) < max_change."""
    trial = Trial("L1", settings, evidence, study)
    zoo, comparisons = Zoo(trial), settings["comparisons"]
    runs = {}
    for name, entry in comparisons.items():
        beside = [entry[role] for role in ("strided", *_CONTROLS) if entry[role]]
        runs[name] = list(dict.fromkeys([*entry["networks"], *beside, *entry["untrained"]]))
    compared = [name for name, entry in comparisons.items() if entry["strided"] and entry["anti_aliased"]]
    zoo.stage(runs, [(LAYERWISE, kind) for kind in TYPES])

    def total(view: View, name: str, run: str, transform: str, kinds: tuple[str, ...] = TYPES) -> Array:
        return np.sum([view.means[name, run, transform, LAYERWISE, kind] for kind in kinds], axis=0)

    def share(view: View, name: str, run: str, transform: str, kinds: tuple[str, ...] = ALIASING) -> Array:
        return total(view, name, run, transform, kinds) / total(view, name, run, transform)

    def change(view: View, name: str, role: str, transform: str) -> Array:
        entry = comparisons[name]
        return np.log(total(view, name, entry[role], transform) / total(view, name, entry["strided"], transform))

    def statistics(view: View, name: str, transform: str) -> Statistics:
        own = comparisons[name]["networks"]
        found = {
            "share": np.mean([share(view, name, run, transform) for run in own], axis=0),
            "share_without_patches": np.mean([share(view, name, run, transform, _WITHOUT_PATCHES) for run in own], axis=0),
        }
        return found | ({"change": change(view, name, "anti_aliased", transform)} if name in compared else {})

    def found(view: View) -> dict[str, Statistics]:
        return over_comparisons({case: statistics(view, name, transform) for case, name, transform in zoo.cases()})

    def decide(view: View) -> Decision:
        def rule(of: Statistics) -> dict[str, int]:
            stated = {"share": condition(view, of["share"], above, "min_share")}
            if "change" in of or not compared:  # published networks have no anti-aliased twin
                stated["anti-aliasing"] = condition(view, of.get("change"), below, "max_change")
            return stated

        return judge(found(view), "share", rule)

    view = trial.view()
    for _, name, transform in zoo.cases():
        entry, cells = comparisons[name], zoo.cells(name, transform)
        for run in runs[name]:
            role = next((role for role in ("strided", *_CONTROLS) if entry[role] == run), "network")
            role = "untrained" if run in entry["untrained"] else role
            for kind in TYPES:
                trial.row(
                    "layerwise",
                    view.interval(total(view, name, run, transform, (kind,))),
                    role=role,
                    arm=run,
                    layer=kind,
                    **cells,
                )
            trial.row("total", view.interval(total(view, name, run, transform)), role=role, arm=run, **cells)
            for part, kinds in (("share", ALIASING), ("share_without_patches", _WITHOUT_PATCHES)):
                trial.row(part, view.interval(share(view, name, run, transform, kinds)), role=role, arm=run, **cells)
        for role in _CONTROLS:
            if entry["strided"] and entry[role]:
                trial.row("change", view.interval(change(view, name, role, transform)), role=role, arm=entry[role], **cells)
    for part, draws in found(view)["all"].items():
        trial.row(part, view.interval(draws), comparison="all")
    untrained = [(name, run, transform) for _, name, transform in zoo.cases() for run in comparisons[name]["untrained"]]
    return trial.outcome(
        decide,
        estimate_name="share of the layerwise Lie deviation in non-linearities, pooling and strided convolutions",
        test=_TEST.format(**settings),
        thresholds=("min_share", "max_change"),
        floor={LAYERWISE: FLOOR},
        null={
            LAYERWISE: level(total(view, *place) for place in untrained),
            "share": level(share(view, *place) for place in untrained),
        },
    )
