"""Propositions 3.1 and 3.2 of Kvinge et al. 2022, witnessed numerically on random networks in float64.

Networks act on images of 6 x 6 pixels. A group that permutes pixels acts by permutation matrices P_g, so equivariance can be
built in exactly: the linear map ``mean_g P_g^T W P_g`` commutes with every P_g, and so does tanh, pixel by pixel. A proof covers
all networks; these constructions show the statements at work, to rounding, in numbers.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geed.claims.evidence import Evidence
from geed.claims.parts import Parts
from geed.claims.trial import Outcome
from geed.claims.verdicts import FAILS, HOLDS, OPEN, all_of, verdict
from geed.errors import GeedError
from geed.seeds import generator

if TYPE_CHECKING:
    import torch

_SIDE = 6  # rotations are exact on squares, three-step translations on multiples of three
_IMAGES = 8
_WIDTH = 16


def P31(settings: Mapping[str, Any], evidence: Evidence | None, study: str) -> Outcome:
    """(1) f = f2 . f1 can be invariant though f1 is not; (2) if f1 is invariant, so is f.

    For (1), f1 lists the features of the whole orbit, phi(g x) for every g, so that gx permutes the list, and f2 averages it away
    before a random network. For (2), f1 is the orbit mean of random features, and f2 any random network.
    """
    import torch

    parts = Parts()
    for spec in settings["groups"]:
        permutations = _permutations(spec)
        for index in range(settings["constructions"]):
            stream = generator("P31", spec, index)
            images = torch.randn(_IMAGES, _SIDE**2, generator=stream, dtype=torch.float64)
            features, head = _network(stream, _SIDE**2, _WIDTH), _network(stream, _WIDTH, _WIDTH)

            def listed(x: "torch.Tensor", features: Callable = features, orders: "torch.Tensor" = permutations) -> "torch.Tensor":
                return features(x[..., orders])  # (…, order, width)

            for role, first, second in (
                ("cancelling", listed, lambda z, head=head: head(z.mean(dim=-2))),
                ("invariant_features", lambda x, listed=listed: listed(x).mean(dim=-2), head),
            ):
                cells = {"group": spec, "construction": index, "role": role, "n_images": _IMAGES}
                parts.add("features", _deviation(first, images, permutations), **cells)
                parts.add("output", _deviation(lambda x, f1=first, f2=second: f2(f1(x)), images, permutations), **cells)
    return _p31(parts.frame(), settings, study)


def _p31(parts: pd.DataFrame, settings: Mapping[str, Any], study: str) -> Outcome:
    """The rule of P31, on its constructions."""
    tolerance, least = settings["tolerance"], settings["min_deviation"]
    values = {key: rows["estimate"].to_numpy() for key, rows in parts.groupby(["role", "part"])}
    first = _everywhere((values["cancelling", "output"] <= tolerance) & (values["cancelling", "features"] > least))
    # (2) is an implication: it says nothing about features that are not invariant.
    premise = values["invariant_features", "features"] <= tolerance
    second = _everywhere((values["invariant_features", "output"] <= tolerance)[premise]) if premise.any() else OPEN
    worst = float(max(values["cancelling", "output"].max(), values["invariant_features", "output"].max()))
    return _outcome(
        "P31",
        study,
        parts,
        settings,
        {"1: invariant f, f1 not": first, "2: f1 invariant, so f": second},
        estimate=worst,
        estimate_name="worst relative deviation of f over the constructions",
        test=(
            f"On every construction: (1) f is invariant to rounding (relative deviation ≤ {tolerance:g}) while f1 deviates by "
            f"more than {least:g}; (2) f1 is invariant to rounding, and so is f (≤ {tolerance:g})."
        ),
        thresholds=("tolerance", "min_deviation"),
        null=float(values["cancelling", "features"].min()),
        null_name="least relative deviation of f1 in (1)",
    )


def P32(settings: Mapping[str, Any], evidence: Evidence | None, study: str) -> Outcome:
    """The deviation of an equivariant network is zero; of one that is perturbed by epsilon it is not, and it grows with epsilon.

    Two linear layers that commute with the action, and tanh between; both perturbed by epsilon times a random map of their own
    size. The action permutes pixels, hence is faithful and linear; the distance is Euclidean, relative to the output's size.
    """
    import torch

    parts = Parts()
    for spec in settings["groups"]:
        permutations = _permutations(spec)
        for index in range(settings["constructions"]):
            stream = generator("P32", spec, index)
            images = torch.randn(_IMAGES, _SIDE**2, generator=stream, dtype=torch.float64)
            exact, noise = ([_weights(stream, _SIDE**2, _SIDE**2) for _ in range(2)] for _ in range(2))
            exact = [torch.stack([weights[order][:, order] for order in permutations]).mean(dim=0) for weights in exact]
            noise = [
                perturbation * (weights.norm() / perturbation.norm()) for weights, perturbation in zip(exact, noise, strict=True)
            ]
            for epsilon in (0.0, *sorted(settings["perturbations"])):
                inner, outer = (weights + epsilon * perturbation for weights, perturbation in zip(exact, noise, strict=True))
                deviation = _deviation(
                    lambda x, a=inner, b=outer: torch.tanh(x @ a.T) @ b.T, images, permutations, equivariant=True
                )
                parts.add("deviation", deviation, group=spec, construction=index, epsilon=epsilon, n_images=_IMAGES)
    return _p32(parts.frame(), settings, study)


def _p32(parts: pd.DataFrame, settings: Mapping[str, Any], study: str) -> Outcome:
    """The rule of P32, on its constructions."""
    tolerance = settings["tolerance"]
    by_epsilon = parts.pivot(index=["group", "construction"], columns="epsilon", values="estimate").sort_index(axis=1).to_numpy()
    equivariant, perturbed = by_epsilon[:, 0], by_epsilon[:, 1:]
    conditions = {
        "equivariant: zero": _everywhere(equivariant <= tolerance),
        "perturbed: not zero": _everywhere((perturbed > tolerance).all(axis=1)),
        "grows with ε": HOLDS if (np.diff(perturbed, axis=1) > 0).all() else OPEN,
    }
    return _outcome(
        "P32",
        study,
        parts,
        settings,
        conditions,
        estimate=float(equivariant.max()),
        estimate_name="worst relative deviation of an equivariant network over the constructions",
        test=(
            f"On every construction: the deviation of the equivariant network is zero to rounding (relative, ≤ {tolerance:g}); "
            "that of the perturbed ones is not, and it grows with ε."
        ),
        thresholds=("tolerance",),
        null=float(perturbed[:, 0].min()),
        null_name="least relative deviation at the smallest ε",
    )


def _everywhere(condition: np.ndarray) -> int:
    """Whether a statement about every construction holds; one counterexample refutes it."""
    return HOLDS if condition.all() else FAILS


def _permutations(spec: str) -> "torch.Tensor":
    """The action on flattened images: g x = x[:, orders[g]], (order, pixels).

    Raises:
        GeedError: the group interpolates, or does not act faithfully, on images of this size.
    """
    import torch

    from geed import groups

    group = groups.parse(spec)
    pixels = torch.arange(_SIDE**2, dtype=torch.float64).reshape(_SIDE, _SIDE)
    orders = torch.stack([group.act(k, pixels).flatten() for k in range(group.order)])
    if not torch.equal(orders.sort(dim=1).values, pixels.flatten().expand(group.order, -1)):
        raise GeedError(
            f"{spec}: expected a group that permutes the pixels of {_SIDE}×{_SIDE} images, found one that interpolates"
        )
    if len(orders.unique(dim=0)) < group.order:
        raise GeedError(f"{spec}: expected a group that acts faithfully on {_SIDE}×{_SIDE} images, found elements that act alike")
    return orders.long()


def _weights(stream: "torch.Generator", rows: int, columns: int) -> "torch.Tensor":
    import torch

    return torch.randn(rows, columns, generator=stream, dtype=torch.float64) / columns**0.5


def _network(stream: "torch.Generator", inputs: int, outputs: int) -> Callable:
    """A random network with one hidden layer: (…, inputs) -> (…, outputs)."""
    import torch

    inner, outer = _weights(stream, _WIDTH, inputs), _weights(stream, outputs, _WIDTH)
    return lambda x: torch.tanh(x @ inner.T) @ outer.T


def _deviation(network: Callable, images: "torch.Tensor", permutations: "torch.Tensor", *, equivariant: bool = False) -> float:
    """Mean over images and elements but the identity of |f(gx) - f(x)| / |f(x)|, or |f(gx) - g f(x)| / |f(x)| (Eq 4, f^ = f)."""
    answers = network(images[:, permutations]).flatten(2)  # (N, order, outputs); element 0 is the identity
    reference = answers[:, 0]
    expected = reference[:, permutations] if equivariant else reference[:, None]
    return float(((answers - expected).norm(dim=2) / reference.norm(dim=1, keepdim=True))[:, 1:].mean())


def _outcome(
    claim: str,
    study: str,
    parts: pd.DataFrame,
    settings: Mapping[str, Any],
    conditions: Mapping[str, int],
    *,
    estimate: float,
    estimate_name: str,
    test: str,
    thresholds: tuple[str, ...],
    null: float,
    null_name: str,
) -> Outcome:
    result = {
        "id": claim,
        "estimate": estimate,
        "ci_low": None,
        "ci_high": None,
        "estimate_name": estimate_name,
        "n_seeds": None,
        "n_constructions": len(parts[["group", "construction"]].drop_duplicates()),
        "n_images": _IMAGES,
        "test": test,
        "thresholds": {key: settings[key] for key in thresholds},
        "floor": {"rounding in float64": float(np.finfo(np.float64).eps)},
        "null": {null_name: null},
        "verdict": verdict(all_of(*conditions.values()), conditions.values()),
        "part_verdicts": {name: verdict(state) for name, state in conditions.items()},
        "notes": [],
        "sensitivity": {},
        "accuracies": {},
        "evidence": [],
        "scale": study,
    }
    return Outcome(result, parts)
