"""Sensitivity to any perturbation: the largest singular value of a network's Jacobian, image by image.

Moskalev et al. 2023 ("spectral decay", Fig 5): a network may become invariant by becoming insensitive to whatever is done to the
image. J = ∂f(x)/∂x is the derivative of the logits by the image as the network takes it; the largest singular value σ_max is
the most that the logits move, in the Euclidean norm, for a small change of the image of norm 1.

What the paper leaves open is settled here: logits, not probabilities, whose derivative vanishes wherever a network is certain;
and pixels as the network takes them. Where it takes [0, 1] and divides by a standard deviation first, σ_max by the
standardised pixel is σ_max times that deviation.
"""

import torch
from torch import Tensor, nn

from geed import seeds
from geed.errors import GeedError
from geed.metrics.session import forward_mode

BLOCK = 10  # directions followed at once
TOLERANCE = 1e-3  # of the residual, relative to σ²
ITERATIONS = 300


def jacobian_norm(
    model: nn.Module, images: Tensor, *, block: int = BLOCK, tolerance: float = TOLERANCE, iterations: int = ITERATIONS
) -> Tensor:
    """σ_max of each image's Jacobian of the logits, (N,) float64, without ever holding a Jacobian.

    Power iteration on J Jᵀ (K × K), on a block of directions u at once and for all images at once: one pass back gives uᵀJ (vjp),
    one forward J(Jᵀu) (jvp), and the best combination of the block is taken (Rayleigh and Ritz). Where the block holds every
    direction, K ≤ `block`, the first pass back is exact: then no iteration follows. Else it goes on until for every image
    ‖J Jᵀ u − σ² u‖ ≤ `tolerance` · σ², so that a singular value of J lies within half the tolerance of σ (usually far
    nearer: the error goes with the square of the residual).

    Args:
        model: maps (N, C, H, W) to logits (N, K), each image by itself; in eval mode.
        images: (N, C, H, W), real.
        block: directions followed at once; more of them converge in fewer steps, and cost more each.
        tolerance: of the residual, above 0.
        iterations: at most so many.

    Raises:
        GeedError: the derivatives are not finite, or the iteration does not converge.
    """
    with forward_mode():
        logits, back = torch.func.vjp(model, images)
        count, classes = logits.shape
        directions = _start(classes, min(block, classes), logits).expand(count, -1, -1)
        for _ in range(iterations):
            pulled = torch.stack([back(u.to(logits.dtype))[0] for u in directions.unbind(1)], dim=1)  # uᵀJ, (N, block, C, H, W)
            values, mixing = _largest(pulled.flatten(2).double())
            if classes <= block:
                return values.sqrt()
            pushed = [torch.func.jvp(model, (images,), (tangent,))[1] for tangent in pulled.unbind(1)]
            returned = torch.stack(pushed, dim=1).double()  # J Jᵀ u, (N, block, K)
            residual = torch.einsum("nb,nbk->nk", mixing, returned - values[:, None, None] * directions).norm(dim=1)
            if bool((residual <= tolerance * values).all()):
                return values.sqrt()
            directions = torch.linalg.qr(returned.mT)[0].mT
    raise GeedError(f"jacobian_norm: no convergence to a residual of {tolerance:g} in {iterations} iterations")


def _start(classes: int, block: int, like: Tensor) -> Tensor:
    """Orthonormal directions (block, K), float64: all of them, or random ones, the same for every image."""
    if block == classes:
        return torch.eye(classes, dtype=torch.float64, device=like.device)
    drawn = torch.randn(classes, block, generator=seeds.generator("jacobian_norm"), dtype=torch.float64)
    return torch.linalg.qr(drawn)[0].mT.to(like.device)


def _largest(pulled: Tensor) -> tuple[Tensor, Tensor]:
    """The largest squared singular value (N,) of each (block, D) matrix, and its left singular vector (N, block)."""
    gram = pulled @ pulled.mT
    if not bool(torch.isfinite(gram).all()):
        raise GeedError("jacobian_norm: the gradients of the logits hold NaN or infinity")
    values, vectors = torch.linalg.eigh(gram)
    return values[:, -1].clamp_min(0), vectors[:, :, -1]
