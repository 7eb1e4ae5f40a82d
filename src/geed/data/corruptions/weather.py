"""Weather: something between the camera and the scene."""

import numpy as np
from scipy import ndimage

from geed.data.corruptions import Draws, blur

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]  # ITU-R BT.601


def brightness(x: np.ndarray, offset: float, draws: Draws, scale: float) -> np.ndarray:
    """HSV value raised by the offset; hue and saturation stay, so the channels scale together."""
    value = x.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(offset), 1)
    return np.where(value > 0, x * (raised / np.where(value > 0, value, 1)), raised)


def fog(x: np.ndarray, parameters: tuple[float, float], draws: Draws, scale: float) -> np.ndarray:
    """A plasma fractal (thickness, decay of its roughness) added, and the range brought back to that of the image."""
    thickness, decay = parameters
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    return (x + thickness * plasma(x.shape[-1], decay, draws)) * brightest / (brightest + thickness)


def procedural_frost(x: np.ndarray, parameters: tuple[float, float], draws: Draws, scale: float) -> np.ndarray:
    """Weighted sum with an icy texture: ridges of a plasma fractal, bluish white. A stand-in for the published photographs."""
    keep, weight = parameters
    ridges = 1 - np.abs(2 * plasma(x.shape[-1], 1.8, draws) - 1)
    tint = np.array([0.90, 0.96, 1.0], dtype=np.float32)[:, None, None] if x.shape[1] == 3 else np.float32(1)
    return keep * x + weight * ridges * tint


def snow(x: np.ndarray, parameters: tuple[float, ...], draws: Draws, scale: float) -> np.ndarray:
    """Flakes (mean, sd, zoom, threshold) streaked by motion (radius, sd), over an image whitened by 1 - keep."""
    mean, sd, zoom, threshold, radius, streak, keep = parameters
    side = x.shape[-1]
    flakes = draws(lambda rng, i: rng.normal(mean, sd, (1, side, side))).astype(np.float32)
    flakes = blur.zoom(flakes, zoom * scale)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = blur.motion(flakes, radius * scale, streak * scale, draws(lambda rng, i: rng.uniform(-135, -45)))
    whitened = keep * x + (1 - keep) * np.maximum(x, _grey(x) * 1.5 + 0.5)
    return whitened + flakes + np.rot90(flakes, 2, axes=(2, 3))


def spatter(x: np.ndarray, parameters: tuple[float, ...], draws: Draws, scale: float) -> np.ndarray:
    """Drops of water (severities 1 to 3) or mud (4 and 5).

    Parameters: mean, sd, blur and threshold of the noise that makes the drops; strength of the water or blur of the mud; mud?
    """
    mean, sd, width, threshold, strength, mud = parameters
    side = x.shape[-1]
    liquid = draws(lambda rng, i: rng.normal(mean, sd, (1, side, side))).astype(np.float32)
    liquid = blur.gaussian(liquid, width * scale)
    if mud:
        cover = blur.gaussian((liquid > threshold).astype(np.float32), strength * scale)
        cover = np.where(cover < 0.8, 0, cover)
        return x * (1 - cover) + cover * _colour((63, 42, 20), x)
    liquid = np.where(liquid < threshold, 0, liquid)
    glint = np.stack([_glint(np.floor(layer[0] * 255)) for layer in liquid])[:, None]
    shine = liquid * glint
    peak = shine.max(axis=(1, 2, 3), keepdims=True)
    return x + strength * np.divide(shine, peak, out=np.zeros_like(shine), where=peak > 0) * _colour((175, 238, 238), x)


def plasma(side: int, decay: float, draws: Draws) -> np.ndarray:
    """Diamond-square height maps in [0, 1], (N, 1, S, S), whose roughness falls by `decay` per octave.

    Made on a torus whose side is the next power of two, and cut to size.
    """
    size = 1 << (side - 1).bit_length()
    noise = draws(lambda rng, i: rng.uniform(-1, 1, (size, size)))
    height = np.zeros((len(noise), size, size))
    step, roughness = size, 100.0
    while step >= 2:
        half = step // 2
        amplitude = roughness * roughness
        corners = height[:, ::step, ::step]
        across = corners + np.roll(corners, -1, axis=1)
        centres = (across + np.roll(across, -1, axis=2)) / 4 + amplitude * noise[:, half::step, half::step]
        height[:, half::step, half::step] = centres
        beside = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        height[:, ::step, half::step] = beside / 4 + amplitude * noise[:, ::step, half::step]
        above = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        height[:, half::step, ::step] = above / 4 + amplitude * noise[:, half::step, ::step]
        step, roughness = half, roughness / decay
    height -= height.min(axis=(1, 2), keepdims=True)
    height /= height.max(axis=(1, 2), keepdims=True)
    return height[:, None, :side, :side].astype(np.float32)


def _glint(layer: np.ndarray) -> np.ndarray:
    """How light plays on drops: an emboss of the distance to the drops' edges, (S, S), bytes in and out.

    The published recipe, step by step, with an exact distance transform in place of OpenCV's approximate one.
    """
    edges = _canny(layer, 50, 150)
    distance = np.minimum(ndimage.distance_transform_edt(~edges), 20) if edges.any() else np.full(layer.shape, 20.0)
    distance = _equalised((ndimage.uniform_filter(distance, 3, mode="mirror") + 1e-6).astype(np.uint8))
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float64)
    relief = np.clip(ndimage.correlate(distance.astype(np.float64), emboss, mode="mirror"), 0, 255)
    return np.rint(ndimage.uniform_filter(relief, 3, mode="mirror")).astype(np.float32)


def _canny(layer: np.ndarray, low: float, high: float) -> np.ndarray:
    """Canny's edges (1986): ridges of the gradient above `low` that hang together with one above `high`; bool (S, S)."""
    down, right = (ndimage.sobel(layer, axis, mode="nearest") for axis in (0, 1))
    size = np.abs(down) + np.abs(right)
    padded = np.pad(size, 1)

    def beside(rows: int, columns: int) -> np.ndarray:
        return padded[1 + rows : padded.shape[0] - 1 + rows, 1 + columns : padded.shape[1] - 1 + columns]

    steep = np.abs(down) / np.maximum(np.abs(right), 1e-9)
    level, upright = steep < np.tan(np.pi / 8), steep > np.tan(3 * np.pi / 8)
    ridge = np.where(
        level,
        (size > beside(0, -1)) & (size >= beside(0, 1)),
        np.where(
            upright,
            (size > beside(-1, 0)) & (size >= beside(1, 0)),
            np.where(
                down * right < 0,
                (size > beside(-1, 1)) & (size > beside(1, -1)),
                (size > beside(-1, -1)) & (size > beside(1, 1)),
            ),
        ),
    )
    chains, _ = ndimage.label(ridge & (size > low), structure=np.ones((3, 3)))
    strong = np.unique(chains[ridge & (size > high)])
    return np.isin(chains, strong[strong > 0])


def _equalised(layer: np.ndarray) -> np.ndarray:
    """Histogram equalisation of bytes: the darkest value that occurs goes to 0, the brightest to 255."""
    counts = np.bincount(layer.ravel(), minlength=256)
    darkest = counts[layer.min()]
    if darkest == layer.size:
        return layer
    table = np.rint((np.cumsum(counts) - darkest) * (255 / (layer.size - darkest)))
    return np.clip(table, 0, 255).astype(np.uint8)[layer]


def _grey(x: np.ndarray) -> np.ndarray:
    return x if x.shape[1] == 1 else (x * _LUMA).sum(axis=1, keepdims=True)


def _colour(rgb: tuple[int, int, int], x: np.ndarray) -> np.ndarray:
    return (
        _grey(np.array(rgb, dtype=np.float32)[None, :, None, None] / 255)
        if x.shape[1] == 1
        else (np.array(rgb, dtype=np.float32)[:, None, None] / 255)
    )


TABLE = {
    "snow": (
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "procedural_frost": (procedural_frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "spatter": (
        spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
    ),
}
