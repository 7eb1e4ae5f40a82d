"""Images moved by r_t, and their derivative by t at 0: the tangent D x = d/dt r_t x that goes into a network.

The derivative is exact and in closed form, because it is that of the interpolating kernel at the pixel centres:

* ``bicubic``: Keys 1981 with a = -1/2, of which the derivative is the central difference (x[k+1] - x[k-1]) / 2. (PyTorch's
  `grid_sample` has a = -3/4, which makes the derivative of a ramp one and a half times too large.)
* ``fourier``: the trigonometric interpolant, cyclic; for translations. The highest frequency of an even number of pixels has
  derivative 0.
* ``bilinear``: has no derivative there; the one for t -> 0 from above is taken, a difference towards where the picture comes
  from.

Outside the image is its mirror image, reflected at the border (`fourier`: its repetition).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from geed.errors import GeedError
from geed.lie.transforms import COLOUR, SPATIAL

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in torchvision's rgb_to_grayscale


def derivative(name: str, images: Tensor, resample: str = "bicubic", aspect: float | None = None) -> Tensor:
    """D x = d/dt r_t x at t = 0, of the same shape.

    Args:
        images: images or feature maps (..., C, H, W).
        resample: "bicubic", "fourier" or "bilinear".
        aspect: height over width of what they depict, if not H / W (maps whose strides differ).

    Raises:
        GeedError: transformations of colour of images that have none.
    """
    return derivatives([name], images, resample, aspect)[0]


def derivatives(names: Iterable[str], images: Tensor, resample: str = "bicubic", aspect: float | None = None) -> Tensor:
    """The derivatives of several transformations, (T, ..., C, H, W); gradients of the images are taken once.

    Raises:
        GeedError: as `derivative` does.
    """
    height, width = images.shape[-2:]
    aspect = height / width if aspect is None else aspect
    slopes: dict[tuple[int, int], Tensor] = {}
    found = []
    for name in names:
        if name in COLOUR:
            found.append(_colour_derivative(name, images))
            continue
        total = None
        for dim, speed in zip((-1, -2), _velocity(name, height, width, aspect, images), strict=True):
            if speed is None:
                continue
            term = -speed * _slope(images, dim, speed, resample, slopes)
            total = term if total is None else total + term
        found.append(total)
    return torch.stack(found)


def transform(name: str, t: float, images: Tensor, resample: str = "bicubic") -> Tensor:
    """r_t x, by the interpolation of which `derivative` is the derivative.

    Args:
        images: (..., C, H, W).

    Raises:
        GeedError: as `derivative` does.
    """
    if name in COLOUR:
        base = _grey(images) if name == "saturation" else 0
        return base + math.exp(t) * (images - base)
    height, width = images.shape[-2:]
    if resample == "fourier":
        dim, size = (-1, width) if name == "translation_x" else (-2, height)
        return _shift(images, t * size / 2, dim)
    flow = torch.zeros(3, 3, dtype=torch.float64)
    flow[:2] = torch.tensor(SPATIAL[name], dtype=torch.float64)
    flow[1, 2] *= height / width  # half heights
    back = torch.matrix_exp(-t * flow)
    x = (torch.arange(width, dtype=torch.float64) * 2 + 1 - width) / width
    y = (torch.arange(height, dtype=torch.float64) * 2 + 1 - height) / width
    places = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), torch.ones(height, width, dtype=torch.float64)])
    column, row, _ = torch.einsum("ij,jhw->ihw", back, places) * width / 2
    return _interpolate(images, row + (height - 1) / 2, column + (width - 1) / 2, resample)


def _velocity(name: str, height: int, width: int, aspect: float, images: Tensor) -> list[Tensor | None]:
    """How many pixels what is seen moves per unit of t, to the right and down, each (H, W)-broadcastable or None for 0."""
    kind = {"dtype": images.dtype, "device": images.device}
    u = (torch.arange(width, **kind) * 2 + 1 - width) / width
    v = ((torch.arange(height, **kind) * 2 + 1 - height) / height)[:, None]
    (xx, xy, x1), (yx, yy, y1) = SPATIAL[name]
    speeds: list[Tensor | None] = []
    for half, factors in ((width / 2, (xx, xy * aspect, x1)), (height / 2, (yx / aspect, yy, y1))):
        terms = [factor * term for factor, term in zip(factors, (u, v, torch.ones(1, 1, **kind)), strict=True) if factor]
        speeds.append(half * sum(terms[1:], terms[0]) if terms else None)
    return speeds


def _slope(images: Tensor, dim: int, speed: Tensor, resample: str, known: dict[tuple[int, int], Tensor]) -> Tensor:
    """The interpolant's derivative along `dim` at the pixel centres, per pixel; gradients already taken are in `known`."""
    if resample == "fourier":
        return known[dim, 0] if (dim, 0) in known else known.setdefault((dim, 0), _spectral_slope(images, dim))
    size = images.shape[dim]
    if (dim, 1) not in known:
        edges = images.narrow(dim, 0, 1), images.narrow(dim, size - 1, 1)
        steps = torch.diff(images, dim=dim, prepend=edges[0], append=edges[1])
        known[dim, -1], known[dim, 1] = steps.narrow(dim, 0, size), steps.narrow(dim, 1, size)
    backward, forward = known[dim, -1], known[dim, 1]
    if resample == "bilinear":
        return torch.where(speed > 0, backward, forward)
    return known[dim, 0] if (dim, 0) in known else known.setdefault((dim, 0), (backward + forward) / 2)


def _frequencies(images: Tensor, dim: int) -> Tensor:
    """2πik/size for the frequencies of `rfft`, in the shape that multiplies a spectrum."""
    size = images.shape[dim]
    frequency = 2j * math.pi / size * torch.arange(size // 2 + 1, device=images.device, dtype=images.dtype)
    return frequency.reshape([-1 if axis == dim else 1 for axis in range(-images.ndim, 0)])


def _spectral_slope(images: Tensor, dim: int) -> Tensor:
    size = images.shape[dim]
    factor = _frequencies(images, dim)
    if size % 2 == 0:
        factor = torch.where(factor.imag.abs() < math.pi * (1 - 0.5 / size), factor, 0)
    return torch.fft.irfft(torch.fft.rfft(images, dim=dim) * factor, n=size, dim=dim)


def _shift(images: Tensor, pixels: float, dim: int) -> Tensor:
    size = images.shape[dim]
    phase = torch.exp(-pixels * _frequencies(images, dim))
    if size % 2 == 0:  # the interpolant holds the highest frequency as a cosine
        phase = torch.cat([phase.narrow(dim, 0, size // 2), phase.narrow(dim, size // 2, 1).real.to(phase.dtype)], dim=dim)
    return torch.fft.irfft(torch.fft.rfft(images, dim=dim) * phase, n=size, dim=dim)


def _interpolate(images: Tensor, row: Tensor, column: Tensor, resample: str) -> Tensor:
    """The interpolant's values at the places (row, column), each (H, W), in pixels."""
    taps = (-1, 0, 1, 2) if resample == "bicubic" else (0, 1)
    weigh = _keys if resample == "bicubic" else _hat
    height, width = images.shape[-2:]
    top, left = row.floor(), column.floor()
    total = torch.zeros_like(images)
    for i in taps:
        rows, by_row = _mirror(top.long() + i, height), weigh(row - top - i)
        for j in taps:
            columns, weight = _mirror(left.long() + j, width), by_row * weigh(column - left - j)
            total += images[..., rows.to(images.device), columns.to(images.device)] * weight.to(images)
    return total


def _mirror(index: Tensor, size: int) -> Tensor:
    """Indices outside 0 … size - 1 reflected at the border, half a pixel outside the outermost centres."""
    index = index % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def _keys(s: Tensor) -> Tensor:
    s = s.abs()
    return torch.where(s <= 1, (1.5 * s - 2.5) * s * s + 1, torch.where(s < 2, ((-0.5 * s + 2.5) * s - 4) * s + 2, 0))


def _hat(s: Tensor) -> Tensor:
    return (1 - s.abs()).clamp_min(0)


def _colour_derivative(name: str, images: Tensor) -> Tensor:
    return images - _grey(images) if name == "saturation" else images.clone()


def _grey(images: Tensor) -> Tensor:
    if images.shape[-3] != 3:
        raise GeedError(f"saturation: expected colour images (N, 3, H, W); found {images.shape[-3]} channel(s)")
    return torch.einsum("...chw,c->...hw", images, images.new_tensor(_LUMA)).unsqueeze(-3)
