"""Blurs: weighted means, or shuffles, over neighbouring pixels."""

import math

import numpy as np
from scipy import ndimage

from geed.data.corruptions import Draws


def gaussian_blur(x: np.ndarray, sd: float, draws: Draws, scale: float) -> np.ndarray:
    """Convolution with a Gaussian, cut at four standard deviations, borders repeated."""
    return gaussian(x, sd * scale)


def defocus_blur(x: np.ndarray, parameters: tuple[float, float], draws: Draws, scale: float) -> np.ndarray:
    """Convolution with a disk (radius) whose edge is softened by a small Gaussian (sd), borders mirrored."""
    radius, softness = (length * scale for length in parameters)
    reach = math.floor(radius) + math.ceil(scale)
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float64)
    taps = np.exp(-(np.arange(-math.ceil(scale), math.ceil(scale) + 1) ** 2) / (2 * softness**2))
    taps /= taps.sum()
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, taps, axis, mode="constant")
    return ndimage.correlate(x, (disk / disk.sum())[None, None], mode="mirror")


def glass_blur(x: np.ndarray, parameters: tuple[float, int, int], draws: Draws, scale: float) -> np.ndarray:
    """Blur, give each pixel the value of one at most `reach` above and left of it (several times over), blur again.

    The published loop means to swap the two pixels, but copies one onto the other; the published images show the copy.
    """
    sd, reach, iterations = parameters[0] * scale, round(parameters[1] * scale), parameters[2]
    x = gaussian(x, sd)
    side = x.shape[-1]
    steps = draws(lambda rng, i: rng.integers(-reach, reach, (iterations, 2, side, side)))
    inside = np.arange(side) > reach
    steps *= inside[:, None] & inside  # the border stays where it is
    everyone, pixels = np.arange(len(x))[:, None, None], np.arange(side)
    for iteration in range(iterations):
        rows = np.minimum(pixels[:, None] + steps[:, iteration, 0], side - 1)
        columns = np.minimum(pixels + steps[:, iteration, 1], side - 1)
        x = np.stack([x[everyone, channel, rows, columns] for channel in range(x.shape[1])], axis=1)
    return gaussian(x, sd)


def motion_blur(x: np.ndarray, parameters: tuple[int, float], draws: Draws, scale: float) -> np.ndarray:
    """Motion in a direction drawn from -45 to 45 degrees of the horizontal."""
    radius, sd = parameters
    return motion(x, radius * scale, sd * scale, draws(lambda rng, i: rng.uniform(-45, 45)))


def zoom_blur(x: np.ndarray, largest: float, draws: Draws, scale: float) -> np.ndarray:
    """Mean of the image and of its zooms by 1, 1.01, … up to the largest."""
    factors = 1 + 0.01 * np.arange(round((largest - 1) * 100) + 1)
    total = x.copy()
    for factor in factors:
        total += zoom(x, factor)
    return total / (len(factors) + 1)


def gaussian(x: np.ndarray, sd: float) -> np.ndarray:
    """Gaussian blur over the last two axes of (N, C, S, S)."""
    return ndimage.gaussian_filter(x, (0, 0, sd, sd), mode="nearest")


def motion(x: np.ndarray, radius: float, sd: float, degrees: np.ndarray) -> np.ndarray:
    """Linear motion as ImageMagick's: a one-sided Gaussian of 2·radius + 1 taps along a direction per image, borders repeated."""
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sd**2))
    steps, weights = steps[weights > 1e-6], weights[weights > 1e-6]
    weights /= weights.sum()
    angle = np.deg2rad(degrees)[:, None]
    down = np.ceil(steps * np.sin(angle) - 0.5).astype(int)
    right = np.ceil(steps * np.cos(angle) - 0.5).astype(int)
    side = x.shape[-1]
    everyone, pixels = np.arange(len(x))[:, None, None], np.arange(side)
    result = np.zeros_like(x)
    for step, weight in zip(steps, weights, strict=True):
        rows = np.clip(pixels + down[:, step, None], 0, side - 1)
        columns = np.clip(pixels + right[:, step, None], 0, side - 1)
        for channel in range(x.shape[1]):
            result[:, channel] += np.float32(weight) * x[everyone, channel, rows[:, :, None], columns[:, None, :]]
    return result


def zoom(x: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge (N, C, S, S) about the centre, bilinear, cropped to the same size."""
    side = x.shape[-1]
    position = (np.arange(side) - (side - 1) / 2) / factor + (side - 1) / 2
    low = np.clip(np.floor(position).astype(int), 0, side - 2)
    share = (position - low).astype(np.float32)
    x = x[..., low, :] * (1 - share)[:, None] + x[..., low + 1, :] * share[:, None]
    return x[..., low] * (1 - share) + x[..., low + 1] * share


TABLE = {
    "defocus_blur": (defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    "motion_blur": (motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (zoom_blur, (1.05, 1.10, 1.15, 1.20, 1.25)),
    "gaussian_blur": (gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
}
