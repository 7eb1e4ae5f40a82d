"""Forward-mode derivatives of any network: one pass carries the images and all their tangents."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from geed.errors import GeedError
from geed.metrics.session import FORWARD_ERRORS


def push(model: nn.Module, images: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
    """The logits (N, K) and their derivatives (T, N, K) along T tangents, which share the pass of the images.

    Args:
        model: maps (N, C, H, W) to (N, K).
        images: (N, C, H, W).
        tangents: (T, N, C, H, W).

    Raises:
        GeedError: the network fails, has no forward-mode derivative, or returns something else.
    """
    with explained(images):
        logits, pushed = torch.vmap(lambda tangent: torch.func.jvp(model, (images,), (tangent,)), out_dims=(None, 0))(tangents)
    check_logits(logits, len(images))
    return logits, pushed


@contextlib.contextmanager
def explained(images: Tensor) -> Iterator[None]:
    """Failures of the network as one sentence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except FORWARD_ERRORS as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise GeedError(f"model: its forward-mode derivative fails on images of shape {tuple(images.shape)}: {reason}") from error


def check_logits(logits: object, count: int) -> None:
    """Raise GeedError unless the network's answer is (N, K), real and finite."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count or not logits.is_floating_point():
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise GeedError(f"model: expected logits (N, K) for N images; found {found} for N = {count}")


def of_output(logits: Tensor, tangents: Tensor, output: str) -> Tensor:
    """Derivatives (T, N, K), float64, of the softmax or of the logits, from those of the logits."""
    tangents = tangents.double()
    if output == "logits":
        return tangents
    p = logits.double().softmax(dim=-1)
    return p * (tangents - (p * tangents).sum(dim=-1, keepdim=True))


def reduced(derivatives: Tensor, reduce: str) -> Tensor:
    """One number per image, from (..., K): mean |·| or mean square over the classes, or the squared norm."""
    if reduce == "mean_abs":
        return derivatives.abs().mean(dim=-1)
    squares = derivatives.square()
    return squares.mean(dim=-1) if reduce == "mean_square" else squares.sum(dim=-1)
