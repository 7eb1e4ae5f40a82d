"""How much a network's answers differ between images: the control that tells invariance from insensitivity.

A network that answers every image alike is perfectly invariant and perfectly useless. Dispersion is 0 for it.
"""

import torch
from torch import Tensor


def output_dispersion(logits: Tensor) -> Tensor:
    """KL divergence of each image's softmax from the mean softmax of all images.

    Its mean is the generalised Jensen-Shannon divergence of the outputs, H(mean p) - mean H(p): between 0 (one answer for all
    images) and log K.

    Args:
        logits: (N, K).

    Returns:
        (N,) float64, in nats.
    """
    log_p = torch.log_softmax(logits.double(), dim=1)
    log_mean = torch.logsumexp(log_p, dim=0) - torch.log(torch.tensor(float(len(log_p)), dtype=torch.float64))
    return (log_p.exp() * (log_p - log_mean)).sum(dim=1)


def latent_dispersion(features: Tensor) -> Tensor:
    """One minus the cosine of each image's features with the mean direction of all images: 0 where all point one way.

    Args:
        features: (N, D).

    Returns:
        (N,) float64, in [0, 2]; a zero vector counts as 1, having no direction.
    """
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    return 1 - unit @ torch.nn.functional.normalize(unit.mean(dim=0), dim=0)
