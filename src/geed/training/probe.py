"""Linear probe: multinomial logistic regression on frozen features, written into the network's own head."""

import torch
import torch.nn.functional as F
from torch import Tensor

from geed import compat
from geed.models.network import Network


def linear_probe(model: Network, images: Tensor, labels: Tensor, batch_size: int = 512) -> float:
    """Fit the head on the features of un-augmented images; the trunk stays as it is. The model is left in eval mode.

    Features are standardised (the head absorbs it); the loss is the summed cross-entropy plus half the squared weights, as in
    scikit-learn's `LogisticRegression` with C = 1: convex, solved in float64 by L-BFGS, so it has neither seed nor learning rate.

    Args:
        model: its `features` and `head` are used.
        images: (N, C, H, W), on the model's device.
        labels: (N,).
        batch_size: images at a time.

    Returns:
        The accuracy on these images.
    """
    model.eval()
    with torch.no_grad():
        features = torch.cat([model.features(batch) for batch in images.split(batch_size)]).double()
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    deviation = torch.where(deviation > 1e-8, deviation, 1.0)
    features = (features - mean) / deviation
    weight = torch.zeros_like(model.head.weight, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros_like(model.head.bias, dtype=torch.float64, requires_grad=True)
    solver = compat.optimiser("LBFGS")(
        [weight, bias], max_iter=300, history_size=20, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(F.linear(features, weight, bias), labels) + 0.5 * weight.square().sum() / len(features)
        value.backward()
        return value

    solver.step(loss)
    with torch.no_grad():
        model.head.weight.copy_(weight / deviation)
        model.head.bias.copy_(bias - (weight / deviation) @ mean)
        return (F.linear(features, weight, bias).argmax(1) == labels).double().mean().item()
