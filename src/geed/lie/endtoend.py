"""The Lie derivative of a network, and the difference quotients that it is the limit of.

Gruver et al. 2022, "The Lie Derivative for Measuring Learned Equivariance": L f(x) = d/dt r_-t f(r_t x) at t = 0, which for
answers that are to stay the same is the derivative of f along D x = d/dt r_t x: one forward-mode derivative, whatever the number
of classes.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from geed.errors import GeedError
from geed.lie import tangents, transforms
from geed.lie.generators import derivatives, transform
from geed.metrics import batches
from geed.metrics.moments import Moments, add_rows
from geed.metrics.session import forward, forward_mode, images_at_once, prepared, within_memory

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = ("translation_x", "translation_y", "rotation", "shear_x", "shear_y", "stretch_x", "stretch_y", "saturation")
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@within_memory
def lie_derivative(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    transforms: Sequence[str] | str = DEFAULT,
    *,
    output: str = "softmax",
    reduce: str = "mean_abs",
    resample: str = "bicubic",
    batch_size: int = 64,
    device: str | torch.device = "auto",
    per_image: bool = False,
    progress: Callable[[int], object] | None = None,
) -> "pd.DataFrame":
    """How fast a network's answers change with a transformation of its input, at the identity: 0 = invariant.

    All transformations of a batch share one pass of the images.

    Args:
        model: maps (N, C, H, W) to logits (N, K). In eval mode for the call, and afterwards as it was, whatever happens.
        images: (N, C, H, W), floating point, or an iterable of batches. Transformations of colour mean the images as given: put
            the normalisation into the network.
        transforms: names as in `geed.lie.transforms.NAMES`. Translations count half image widths (heights), rotations radians,
            the others the parameter t of the one-parameter group, all at the identity.
        output: "softmax" or "logits": what is derived.
        reduce: over the K classes: "mean_abs" (the authors' end-to-end number), "mean_square", or "squared_norm" (the sum).
        resample: "bicubic", "fourier" (translations, cyclic), "bilinear" (the authors', one-sided here).
        batch_size: at most how many tangents, images times transformations, are in memory at once; fewer where that is faster
            (large images on a CPU), but those of one image at least.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        per_image: add a column `values`, per row a float32 array of length n_images.
        progress: called with the number of images done since the last call.

    Returns:
        One row per transformation: `transform, value, se, n_images`; `se` is the standard error over images.

    Raises:
        GeedError: anything about the arguments, a network without a forward-mode derivative, NaN or infinity in its answers.
    """
    names = _names(model, transforms, output, reduce, resample, batch_size)
    found = Table(names, per_image)
    with prepared(model, device) as (place, dtype), forward_mode():
        for chunk in batches.chunks(images, None, functools.partial(images_at_once, batch_size, len(names), place)):
            batch = chunk.images.to(place, dtype)
            logits, pushed = tangents.push(model, batch, derivatives(names, batch, resample))
            found.add(tangents.reduced(tangents.of_output(logits, pushed, output), reduce), chunk.start)
            if progress is not None:
                progress(len(batch))
    return found.rows([{"transform": name} for name in names])


@within_memory
def difference_quotient(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    transforms: Sequence[str] | str = DEFAULT,
    steps: Sequence[float] = STEPS,
    *,
    output: str = "softmax",
    reduce: str = "mean_abs",
    resample: str = "bicubic",
    batch_size: int = 64,
    device: str | torch.device = "auto",
    per_image: bool = False,
    progress: Callable[[int], object] | None = None,
) -> "pd.DataFrame":
    """What `lie_derivative` is the limit of, (f(r_t x) - f(x)) / t reduced in the same way, and how many answers stay, at each t.

    With resample="fourier" a translation by t = 2k/W is the cyclic shift by k whole pixels.

    Args:
        steps: the values of t, none of them 0; for the rest see `lie_derivative`.

    Returns:
        One row per transformation and step: `transform, t, value, se, consistency, consistency_se, n_images`; consistency is the
        share of images of which the class with the highest logit stays the same.

    Raises:
        GeedError: as `lie_derivative` does, or a step that is 0 or not finite.
    """
    names = _names(model, transforms, output, reduce, resample, batch_size)
    keys = [(name, float(step)) for name in names for step in steps]
    if not keys or not all(np.isfinite(step) and step for _, step in keys):
        raise GeedError(f"steps: expected finite numbers other than 0; found {list(steps)}")
    quotients, answers = Table(keys, per_image), Table(keys, False)
    with prepared(model, device) as (place, dtype), torch.no_grad():
        for chunk in batches.chunks(images, None, functools.partial(images_at_once, batch_size, 1, place)):
            batch = chunk.images.to(place, dtype)
            logits = forward(model, batch)
            tangents.check_logits(logits, len(batch))
            reference, new = _answer(logits, output), ([], [])
            for name, step in keys:
                moved = forward(model, transform(name, step, batch, resample))
                new[0].append(tangents.reduced((_answer(moved, output) - reference) / step, reduce))
                new[1].append((moved.argmax(dim=-1) == logits.argmax(dim=-1)).double())
            quotients.add(torch.stack(new[0]), chunk.start)
            answers.add(torch.stack(new[1]), chunk.start)
            if progress is not None:
                progress(len(batch))
    rows = [{"transform": name, "t": step} for name, step in keys]
    table, consistent = quotients.rows(rows), answers.rows(rows)
    table.insert(4, "consistency", consistent["value"])
    table.insert(5, "consistency_se", consistent["se"])
    return table


class Table:
    """Running means of one value per image for each of some rows."""

    def __init__(self, keys: Sequence[Any], keep: bool):
        self.moments = [Moments(keep) for _ in keys]
        self._keep = keep

    def add(self, values: Tensor, start: int) -> None:
        """Add (rows, N) values of the images from number `start` on."""
        columns = values.cpu().numpy()
        if not np.isfinite(columns).all():
            first = start + int((~np.isfinite(columns)).any(axis=0).argmax())
            raise GeedError(f"the model's output holds NaN or infinity (first at image {first})")
        add_rows(self.moments, columns)

    def rows(self, keys: list[dict[str, Any]]) -> "pd.DataFrame":
        """The table, with `keys` in front of each row's value."""
        import pandas as pd

        if not self.moments[0].n:
            raise GeedError("images: found none to measure")
        rows = []
        for key, moments in zip(keys, self.moments, strict=True):
            row = key | {"value": moments.mean, "se": moments.se, "n_images": moments.n}
            rows.append(row | {"values": moments.values.astype("float32")} if self._keep else row)
        return pd.DataFrame(rows)


def _names(model: Any, names: Sequence[str] | str, output: str, reduce: str, resample: str, batch_size: Any) -> list[str]:
    """The transformations, once the arguments have been checked."""
    check_arguments(model, output, reduce, batch_size)
    return transforms.parse_all(names, resample)


def check_arguments(model: Any, output: str, reduce: str, batch_size: Any) -> None:
    """Raise GeedError unless these are what they should be."""
    if not isinstance(model, nn.Module):
        raise GeedError(f"model: expected a torch.nn.Module; found a {type(model).__name__}")
    transforms.choose("output", output, transforms.OUTPUTS)
    transforms.choose("reduce", reduce, transforms.REDUCTIONS)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise GeedError(f"batch_size: expected a positive integer; found {batch_size!r}")


def _answer(logits: Tensor, output: str) -> Tensor:
    return logits.double().softmax(dim=-1) if output == "softmax" else logits.double()
