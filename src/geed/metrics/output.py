"""Invariance of the network's answers, from the logits of an orbit.

`reference` is f(x), (N, K); `orbit` is f(gx) for the averaged elements, (n, N, K); both float64. Values are per image, (N,).
Probabilities are the softmax of the logits; divergences are in nats.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], Tensor]


def eed_kl(reference: Tensor, orbit: Tensor) -> Tensor:
    """Mean over g of KL(p(gx) ‖ p̄), p̄ the mean of p over the orbit: 0 = invariant, at most log n.

    It is the generalised Jensen–Shannon divergence, H(p̄) − mean H(p).
    """
    log_p = orbit.log_softmax(dim=-1)
    log_mean = log_p.logsumexp(dim=0) - torch.log(torch.tensor(float(len(log_p)), dtype=log_p.dtype))
    return (log_p.exp() * (log_p - log_mean)).sum(dim=-1).mean(dim=0)


def eed_cosine(reference: Tensor, orbit: Tensor) -> Tensor:
    """Minus the mean over g of cos(p(gx), p̄): −1 = invariant."""
    p = orbit.softmax(dim=-1)
    return -torch.nn.functional.cosine_similarity(p, p.mean(dim=0, keepdim=True), dim=-1, eps=0).mean(dim=0)


def eed_one_minus_cosine(reference: Tensor, orbit: Tensor) -> Tensor:
    """One minus the mean over g of cos(p(gx), p̄): 0 = invariant."""
    return 1 + eed_cosine(reference, orbit)


def eed_l2(reference: Tensor, orbit: Tensor) -> Tensor:
    """Mean over g of ‖p(gx) − p̄‖: 0 = invariant."""
    p = orbit.softmax(dim=-1)
    return torch.linalg.vector_norm(p - p.mean(dim=0), dim=-1).mean(dim=0)


def predictive_invariance(reference: Tensor, orbit: Tensor) -> Tensor:
    """DI of Moskalev et al. 2023: mean over g of KL(p(x) ‖ p(gx)); 0 = invariant."""
    log_p, log_q = reference.log_softmax(dim=-1), orbit.log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1).mean(dim=0)


def logit_invariance(reference: Tensor, orbit: Tensor) -> Tensor:
    """LI of Moskalev et al. 2023: mean over g of ½‖f(x) − f(gx)‖²; 0 = invariant, and then DI is 0 too, not conversely."""
    return (reference - orbit).square().sum(dim=-1).mean(dim=0) / 2


def effective_invariance(reference: Tensor, orbit: Tensor) -> Tensor:
    """Deng et al. 2022: mean over g of √(p_y(x) p_y(gx)) where x and gx get one class y, else of 0; 1 = invariant and certain."""
    p, q = reference.softmax(dim=-1), orbit.softmax(dim=-1)
    classes = p.argmax(dim=-1)
    chosen = classes[None, :, None].expand(len(q), -1, 1)
    both = (p.amax(dim=-1) * q.gather(-1, chosen)[..., 0]).sqrt()
    return torch.where(q.argmax(dim=-1) == classes, both, 0).mean(dim=0)


def consistency(reference: Tensor, orbit: Tensor) -> Tensor:
    """Share of the elements for which gx gets the class of x; 1 = invariant. The identity counts: at least 1/|G|."""
    return (orbit.argmax(dim=-1) == reference.argmax(dim=-1)).double().mean(dim=0)


def accuracy(reference: Tensor, labels: Tensor) -> Tensor:
    """1 where the untransformed image gets its label's class, else 0."""
    return (reference.argmax(dim=-1) == labels).double()


# (metric, distance) -> function of (reference, orbit); accuracy alone needs labels instead
FUNCTIONS: dict[tuple[str, str], Function] = {
    ("output_eed", "kl"): eed_kl,
    ("output_eed", "cosine"): eed_cosine,
    ("output_eed", "one_minus_cosine"): eed_one_minus_cosine,
    ("output_eed", "l2"): eed_l2,
    ("predictive_invariance", ""): predictive_invariance,
    ("logit_invariance", ""): logit_invariance,
    ("effective_invariance", ""): effective_invariance,
    ("consistency", ""): consistency,
}
