"""Deciding a claim by its ID, and writing it down."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geed.claims import propositions
from geed.claims import settings as claim_settings
from geed.claims.evidence import Evidence
from geed.claims.gruver.l1 import L1
from geed.claims.gruver.l2 import L2
from geed.claims.gruver.l3 import L3
from geed.claims.kvinge.k1 import K1
from geed.claims.kvinge.k2 import K2
from geed.claims.kvinge.k3 import K3
from geed.claims.kvinge.k4 import K4
from geed.claims.kvinge.k5 import K5
from geed.claims.moskalev.m1 import M1
from geed.claims.moskalev.m2 import M2
from geed.claims.moskalev.m3 import M3
from geed.claims.moskalev.published import FIGURE_4, FIGURE_5, TABLE_1
from geed.claims.trial import Outcome
from geed.errors import GeedError, nearest
from geed.files import sha256, write_json, write_table

_KVINGE = "Kvinge et al. 2022, In What Ways Are Deep Neural Networks Invariant and How Should We Measure This? (arXiv 2210.03773)"
_MOSKALEV = "Moskalev et al. 2023, On genuine invariance learning without weight-tying (PMLR 221:218-227)"
_GRUVER = "Gruver et al. 2022, The Lie Derivative for Measuring Learned Equivariance (arXiv 2210.02984)"
_IN_WORDS = {"value": None, "where": "page 2, in words"}


class Claim(NamedTuple):
    """A claim: the function that decides it, the paper, what the paper says in our words, and the number that it reports."""

    function: Callable[[Mapping[str, Any], Evidence, str], Outcome]
    paper: str
    statement: str
    reported: dict[str, Any]


CLAIMS = {
    "K1": Claim(
        K1,
        _KVINGE,
        "Training with augmentation tends not to give invariance by way of learned equivariant layers.",
        _IN_WORDS,
    ),
    "K2": Claim(
        K2,
        _KVINGE,
        "Invariance learned by augmentation generalises mildly to common corruptions; apparent invariance on images of another "
        "domain can be insensitivity.",
        _IN_WORDS,
    ),
    "K3": Claim(
        K3,
        _KVINGE,
        "Invariance need not track performance: networks with random weights can be more invariant than those that learned it or "
        "have it hard-coded.",
        _IN_WORDS,
    ),
    "K4": Claim(
        K4,
        _KVINGE,
        "Networks that start from pretrained weights differ in invariance from those that start at random; which is more "
        "invariant depends on the distance.",
        _IN_WORDS,
    ),
    "K5": Claim(
        K5,
        _KVINGE,
        "Self-supervised networks are not more invariant than supervised ones, except contrastive ones with augmentation from "
        "the group.",
        _IN_WORDS,
    ),
    "L1": Claim(
        L1,
        _GRUVER,
        "Violations of equivariance arise in pointwise non-linearities, pooling and strided layers, by aliasing; anti-aliasing "
        "lowers them.",
        {"value": None, "where": "Section 4 and its figure, in words"},
    ),
    "L2": Claim(
        L2,
        _GRUVER,
        "The more accurate a network, the more equivariant it is, across architectures and within them.",
        {"value": None, "where": "Section 5 and its figure, in words"},
    ),
    "L3": Claim(
        L3,
        _GRUVER,
        "Trained transformers can be more equivariant than convolutional networks, though they are not by construction.",
        {"value": None, "where": "abstract, in words"},
    ),
    "M1": Claim(
        M1,
        _MOSKALEV,
        "A network that classifies transformed images correctly, having been trained on them, is not genuinely invariant: its "
        "saliency maps and logits depend on the transformation, and its invariance is lost under a shift of domain.",
        {
            "value": {"table_1": TABLE_1, "figure_4": FIGURE_4},
            "where": "Table 1 (mean ± std over four seeds); Figure 4: DI at β = 0.5, read off the plot by eye",
        },
    ),
    "M2": Claim(
        M2,
        _MOSKALEV,
        "Regularising a network for invariance brings it to the invariance of a weight-tied one, reliably under a shift of "
        "domain.",
        {
            "value": {"table_1": TABLE_1, "figure_4": FIGURE_4},
            "where": "Table 1 (mean ± std over four seeds); Figure 4: DI at β = 0.5, read off the plot by eye",
        },
    ),
    "M3": Claim(
        M3,
        _MOSKALEV,
        "Regularised networks become invariant by spectral decay: they grow insensitive to any perturbation.",
        {"value": {"figure_5": FIGURE_5}, "where": "Figure 5, read off the plot by eye (to about 5 %)"},
    ),
    "P31": Claim(
        propositions.P31,
        _KVINGE,
        "A network can be invariant though its feature extractor is not; if the feature extractor is invariant, so is the "
        "network.",
        {"value": None, "where": "Proposition 3.1"},
    ),
    "P32": Claim(
        propositions.P32,
        _KVINGE,
        "For a faithful linear action and a metric, the deviation is zero exactly where the network is equivariant almost "
        "surely.",
        {"value": 0.0, "where": "Proposition 3.2, the deviation of an equivariant network"},
    ),
}


def evaluate(claim: str, settings: Mapping[str, Any], evidence: Evidence, study: str) -> Outcome:
    """Decide a claim.

    Args:
        claim: its ID.
        settings: its settings, whole (workflow/schemas/claims.schema.yaml).
        evidence: the measurements; the propositions need none.
        study: name of the study, the scale of the verdict.

    Returns:
        The result (the contract of claims/<ID>.json) and its parts.

    Raises:
        GeedError: an unknown claim, or a measurement that it needs is not there.
    """
    if claim not in CLAIMS:
        raise GeedError(f"claims.{claim}: unknown claim{nearest(claim, CLAIMS)}")
    entry = CLAIMS[claim]
    result, parts = entry.function(settings, evidence, study)
    return Outcome({"paper": entry.paper, "statement": entry.statement, "reported": entry.reported, **result}, parts)


def decide(
    claim: str,
    settings: Mapping[str, Any],
    *,
    study: str,
    measurements: Path,
    seeds: Sequence[int] | Mapping[str, Sequence[int]],
    result: Path,
    parts: Path,
) -> dict[str, Any]:
    """Decide a claim from the tables in `measurements`, and write its result (JSON) and parts (CSV); `seeds` as for `Evidence`.

    Returns:
        Verdict and estimate, for the job's record.
    """
    evidence = Evidence(
        measurements,
        seeds,
        metrics=claim_settings.metrics(settings),
        evaluations=claim_settings.evaluations(settings),
    )
    outcome = evaluate(claim, settings, evidence, study)
    write_table(parts, outcome.parts)
    written = {"path": Path(parts).as_posix(), "sha256": sha256(parts)}
    # The propositions rest on no measurements: their constructions are their evidence.
    write_json(result, {**outcome.result, "parts": written, "evidence": outcome.result["evidence"] or [written]})
    return {key: outcome.result[key] for key in ("verdict", "estimate", "ci_low", "ci_high", "n_seeds")}
