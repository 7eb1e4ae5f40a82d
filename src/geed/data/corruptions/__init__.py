"""Common image corruptions at five severities, with the parameters that generated CIFAR-10-C.

Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"; parameters
from the authors' generator for CIFAR-10. Written here because the published generator needs ImageMagick and OpenCV and fits
32-pixel colour images only, and the packages made from it have gone stale. These work on any square size from 8 pixels, on
one channel or three, in batches, and the same image always gets the same corruption, whatever batch it comes in.

Sizes. Lengths in pixels (widths of blurs, of motion, of snowflakes) hold for 32 pixels; larger images scale them by size / 32,
smaller ones keep them, because a blur narrower than a pixel changes nothing. Elastic's and pixelate's are fractions of the size.

Grey images. Operations on colour act on the grey value; `saturate` leaves a grey image as it is.

Differences from the published generator, all deliberate: values are rounded to bytes, not cut; zooms are about the centre,
where the published ones, cropped to whole pixels, also shift the image by up to a pixel; `procedural_frost` takes a drawn texture
for the original's photographs, and is named so that no table can mix the two up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from geed import seeds
from geed.errors import GeedError, nearest

if TYPE_CHECKING:
    import numpy as np
    import torch

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "procedural_frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
NAMES: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)
REFERENCE_SIZE = 32

_BATCH = 250  # images at a time: bounds the memory of intermediate arrays


class Draws:
    """Random numbers of one batch: one stream per image, keyed by seed, corruption, severity and image id; made at first use."""

    def __init__(self, ids: Iterable[int], *names: object) -> None:
        self._keys = [(*names, int(identity)) for identity in ids]
        self._streams: list[np.random.Generator] | None = None

    def __call__(self, draw: Callable[[np.random.Generator, int], np.ndarray]) -> np.ndarray:
        """Stack ``draw(stream, position in the batch)`` over the batch."""
        import numpy as np

        if self._streams is None:
            self._streams = [seeds.rng("corruption", *key) for key in self._keys]
        return np.stack([draw(stream, i) for i, stream in enumerate(self._streams)])


def corrupt(images: torch.Tensor, name: str, severity: int, *, ids: torch.Tensor, seed: str = "") -> torch.Tensor:
    """Corrupted copies of images.

    Args:
        images: float (N, C, S, S) in [0, 1], C 1 or 3, S at least 8.
        name: one of `NAMES`.
        severity: 1 (mild) to 5.
        ids: integers (N,), what keys each image's random numbers.
        seed: another word gives another draw.

    Returns:
        float32 of the same shape, multiples of 1/255.

    Raises:
        GeedError: unknown name or severity, images of another shape or with values outside [0, 1].
    """
    import numpy as np
    import torch

    from geed.data.corruptions import blur, digital, noise, weather

    table = noise.TABLE | blur.TABLE | weather.TABLE | digital.TABLE
    if name not in table:
        raise GeedError(f"unknown corruption '{name}'{nearest(name, NAMES)}")
    if severity not in SEVERITIES:
        raise GeedError(f"{name}: severity must be a whole number from 1 to 5, found {severity}")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2] != images.shape[3] or images.shape[3] < 8:
        raise GeedError(f"{name}: expected images (N, 1 or 3, S, S) with S >= 8, found shape {tuple(images.shape)}")
    if len(ids) != len(images):
        raise GeedError(f"{name}: expected one id per image, found {len(ids)} ids for {len(images)} images")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise GeedError(f"{name}: expected values in [0, 1], found {images.min().item()} to {images.max().item()}")

    function, parameters = table[name]
    scale = max(1.0, images.shape[-1] / REFERENCE_SIZE)
    result = torch.empty(images.shape, dtype=torch.float32)
    for start in range(0, len(images), _BATCH):
        batch = slice(start, start + _BATCH)
        draws = Draws(ids[batch].tolist(), seed, name, severity)
        values = function(images[batch].to("cpu", torch.float32).contiguous().numpy(), parameters[severity - 1], draws, scale)
        result[batch] = torch.from_numpy(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)).float().div_(255)
    return result
