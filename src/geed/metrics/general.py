"""The group empirical equivariance deviation for any action on a layer's output: Eq 4 of Kvinge et al. 2022."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geed.errors import GeedError
from geed.groups.base import Group
from geed.metrics.latent import directions

Action = Callable[[int, Tensor], Tensor]


def deviation(orbit: Tensor, action: Action, kernel: Sequence[int], elements: Sequence[int], distance: str) -> Tensor:
    """Mean over g of m(f(gx), g·f̂(x)), f̂(x) the mean of f(hx) over the kernel of the action (Eq 2); per image, (N,).

    For the trivial action the kernel is the whole group and f̂ the orbit mean (invariance, Eq 6); for a faithful one f̂ = f.

    Args:
        orbit: (|G|, N, …), float64: the layer's output for every element.
        action: (k, y) → k·y, linear, on (N, …).
        kernel: the elements that act as the identity (`Group.kernel`).
        elements: the elements averaged over.
        distance: "cosine" (minus the cosine of the flattened outputs, −1 = equivariant) or "l2" (0 = equivariant).
    """
    centre = orbit[list(kernel)].mean(dim=0)
    total = torch.zeros(orbit.shape[1], dtype=orbit.dtype, device=orbit.device)
    for k in elements:
        here, there = orbit[k].flatten(1), action(k, centre).flatten(1)
        if distance == "l2":
            total += torch.linalg.vector_norm(here - there, dim=-1)
        else:
            total -= (directions(here) * directions(there)).sum(dim=-1)
    return total / len(elements)


def kernel_of(action: Action, group: Group, shape: Sequence[int], layer: str) -> tuple[int, ...]:
    """The kernel of an action on outputs of one image of the given shape.

    Raises:
        GeedError: the action fails on such outputs, changes their shape, or is no action of the group.
    """
    probe = torch.randn((1, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    try:
        return group.kernel(action, probe)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise GeedError(f"actions: the action on '{layer}' fails on an output of shape {tuple(shape)}: {error}") from error
    except GeedError as error:
        raise GeedError(f"actions: on '{layer}', {error}") from error
