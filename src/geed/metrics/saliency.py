"""Saliency-aligned invariance (SI): the network looks at the same parts of an image however the image is transformed.

Moskalev et al. 2023, "On genuine invariance learning without weight-tying": the map m(x) is the absolute value of the integrated
gradients (Sundararajan et al. 2017) of the target class, with values below 0.9 of its maximum dropped, smoothed with a 3 x 3
Gaussian of standard deviation 1; SI is the mean over images and group elements of cos(m(x), g^-1 m(gx)).

Three things that the paper leaves open are settled here:
* The path: `steps` midpoints (16) from a constant `baseline` (0, black) to the image.
* Several colour channels make one map: the sum of their absolute values.
* The identity, for which the cosine is 1 whatever the network, is not counted. The paper's Table 1 has SI = 0.17 for four
  rotations; maps are never negative, so counting the identity could not give less than 1/4.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from geed.errors import GeedError

if TYPE_CHECKING:
    from geed.groups import Group

STEPS = 16
BASELINE = 0.0
KEPT = 0.9  # of the map's maximum: what lies below is dropped


def integrated_gradients(
    model: nn.Module, images: Tensor, targets: Tensor, steps: int = STEPS, baseline: float | Tensor = BASELINE
) -> Tensor:
    """Attributions (N, C, H, W) of each image's target logit, by the midpoint rule on the straight path from the baseline.

    They sum, over an image, to f(image) - f(baseline) as `steps` grows; exactly, for any `steps`, where f is linear. Memory is
    that of one forward and backward pass of the batch, whatever `steps` is. Nothing is left in the parameters' `.grad`.

    Args:
        model: maps (N, C, H, W) to logits (N, K); used in the mode that it is in, so put it in eval mode.
        images: (N, C, H, W), real.
        targets: (N,) class indices.
        steps: points on the path, at least 1.
        baseline: where the path starts: a pixel value, the same everywhere, or an image that broadcasts to (N, C, H, W).

    Raises:
        GeedError: a target is not among the model's classes, or the gradients are not finite.
    """
    if steps < 1:
        raise GeedError(f"saliency: expected at least one step, found {steps}")
    with torch.inference_mode(False), torch.enable_grad():
        images, targets = images.clone(), targets.to(images.device).clone()  # clones of inference tensors are ordinary ones
        difference = images.detach() - baseline
        total = torch.zeros_like(difference)
        for step in range(steps):
            point = (baseline + (step + 0.5) / steps * difference).requires_grad_()
            logits = model(point)
            strange = targets[(targets < 0) | (targets >= logits.shape[-1])]
            if len(strange):
                raise GeedError(f"saliency: expected class indices from 0 to {logits.shape[-1] - 1}, found {int(strange[0])}")
            total += torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), point)[0]
    attributions = difference * total / steps
    if not bool(torch.isfinite(attributions).all()):
        raise GeedError("saliency: the gradients of the logits hold NaN or infinity")
    return attributions


def saliency_maps(model: nn.Module, images: Tensor, targets: Tensor, steps: int = STEPS, baseline: float = BASELINE) -> Tensor:
    """Maps m(x), (N, H, W), never negative: |integrated gradients|, thresholded and smoothed as in Moskalev et al. 2023.

    Raises:
        GeedError: as `integrated_gradients` does.
    """
    magnitudes = integrated_gradients(model, images, targets, steps, baseline).abs().sum(dim=1)
    return smoothed(magnitudes * (magnitudes >= KEPT * magnitudes.amax(dim=(-2, -1), keepdim=True)))


def smoothed(maps: Tensor) -> Tensor:
    """Maps (N, H, W), smoothed with a 3 x 3 Gaussian of standard deviation 1."""
    weights = torch.exp(-0.5 * torch.arange(-1, 2, dtype=maps.dtype, device=maps.device) ** 2)
    kernel = torch.outer(weights, weights) / weights.sum() ** 2
    # Periodic borders: of the usual ones they alone commute with quarter turns, reflections and cyclic shifts alike.
    bordered = functional.pad(maps[:, None], (1, 1, 1, 1), mode="circular")
    return functional.conv2d(bordered, kernel[None, None])[:, 0]


def similarity(reference: Tensor, other: Tensor) -> Tensor:
    """Cosine (N,), float64, of two stacks of maps (N, H, W). Two empty maps agree (1); an empty and another do not (0)."""
    reference, other = reference.double().flatten(1), other.double().flatten(1)
    norms = reference.norm(dim=1), other.norm(dim=1)
    cosine = (reference * other).sum(dim=1) / (norms[0] * norms[1]).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where((norms[0] == 0) & (norms[1] == 0), 1.0, cosine)


def saliency_similarity(
    model: nn.Module,
    images: Tensor,
    group: "Group",
    targets: Tensor | None = None,
    steps: int = STEPS,
    baseline: float = BASELINE,
) -> Tensor:
    """SI of each image, (N,) float64 in [0, 1]: the mean over all g but the identity of cos(g m(x), m(gx)).

    1 means that the maps move with the image. Carrying m(x) forward instead of m(gx) back gives the same cosine, because the
    groups permute pixels, and it needs no inverse, which a sample of an infinite group has not. Where the action interpolates,
    it has its floor below 1. A group of the identity alone gives 1. Two maps are in memory at a time.

    Args:
        model: maps (N, C, H, W) to logits (N, K), in eval mode.
        images: (N, C, H, W), real.
        group: a group of `geed.groups`.
        targets: (N,) class indices; None = the class that the model predicts for the image as it is, for every gx.
        steps: points on the integration path.
        baseline: pixel value at the path's start.

    Raises:
        GeedError: as `integrated_gradients` does.
    """
    original = group.act(0, images)  # inside a disc, where the group resamples
    if targets is None:
        with torch.no_grad():
            targets = model(original).argmax(dim=1)
    reference = saliency_maps(model, original, targets, steps, baseline)
    elements = [k for k in group.averaged if k != 0]
    total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    for k in elements:
        moved = saliency_maps(model, group.act(k, images), targets, steps, baseline)
        total += similarity(group.act(k, reference), group.act(0, moved))
    return total / len(elements) if elements else torch.ones_like(total)
