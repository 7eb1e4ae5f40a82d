"""L1: equivariance is broken by pointwise non-linearities, pooling and strides, and anti-aliasing repairs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from geed.claims.evidence import Evidence
from geed.claims.gruver.zoo import LAYERWISE, Zoo
from geed.claims.statements import condition, judge, over_comparisons
from geed.claims.trial import Decision, Outcome, Statistics, Trial, View
from geed.claims.verdicts import above, below
from geed.lie.transforms import TYPES
from geed.stats.bootstrap import Array

ALIASING = ("activation", "pooling", "strided_convolution")
_CONTROLS = ("anti_aliased", "stride_free")
_TEST = (
    "Pointwise non-linearities, pooling and strided convolutions have a share above {min_share:g} of the layerwise Lie deviation "
    "(mean over networks), and the logarithm of the anti-aliased network's total ÷ the strided one's lies below {max_change:g}."
)


def L1(settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """Share > min_share and log(total of the anti-aliased / total of the strided network) < max_change."""
    trial = Trial("L1", settings, evidence, study)
    zoo, comparisons = Zoo(trial), settings["comparisons"]
    runs = {
        name: list(dict.fromkeys([*entry["networks"], entry["strided"], *filter(None, (entry[role] for role in _CONTROLS))]))
        for name, entry in comparisons.items()
    }
    zoo.stage(runs, [(LAYERWISE, kind) for kind in TYPES])

    def total(view: View, name: str, run: str, transform: str, kinds: tuple[str, ...] = TYPES) -> Array:
        return np.sum([view.means[name, run, transform, LAYERWISE, kind] for kind in kinds], axis=0)

    def share(view: View, name: str, run: str, transform: str) -> Array:
        return total(view, name, run, transform, ALIASING) / total(view, name, run, transform)

    def change(view: View, name: str, role: str, transform: str) -> Array:
        entry = comparisons[name]
        return np.log(total(view, name, entry[role], transform) / total(view, name, entry["strided"], transform))

    def statistics(view: View, name: str, transform: str) -> Statistics:
        shares = [share(view, name, run, transform) for run in comparisons[name]["networks"]]
        return {"share": np.mean(shares, axis=0), "change": change(view, name, "anti_aliased", transform)}

    def found(view: View) -> dict[str, Statistics]:
        return over_comparisons({case: statistics(view, name, transform) for case, name, transform in zoo.cases()})

    def decide(view: View) -> Decision:
        def rule(of: Statistics) -> dict[str, int]:
            return {
                "share": condition(view, of["share"], above, "min_share"),
                "anti-aliasing": condition(view, of["change"], below, "max_change"),
            }

        return judge(found(view), "share", rule)

    view = trial.view()
    for _, name, transform in zoo.cases():
        entry, cells = comparisons[name], zoo.cells(name, transform)
        for run in runs[name]:
            role = next((role for role in ("strided", *_CONTROLS) if entry[role] == run), "network")
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
            trial.row("share", view.interval(share(view, name, run, transform)), role=role, arm=run, **cells)
        for role in _CONTROLS:
            if entry[role]:
                trial.row("change", view.interval(change(view, name, role, transform)), role=role, arm=entry[role], **cells)
    for part, draws in found(view)["all"].items():
        trial.row(part, view.interval(draws), comparison="all")
    return trial.outcome(
        decide,
        estimate_name="share of the layerwise Lie deviation in non-linearities, pooling and strided convolutions",
        test=_TEST.format(**settings),
        thresholds=("min_share", "max_change"),
        floor={},
        null={},
    )
