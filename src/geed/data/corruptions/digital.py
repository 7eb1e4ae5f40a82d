"""Digital corruptions: what software does to an image."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from geed.data.corruptions import Draws


def contrast(x: np.ndarray, factor: float, draws: Draws, scale: float) -> np.ndarray:
    """Each channel drawn towards its mean over the image."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    return (x - mean) * np.float32(factor) + mean


def saturate(x: np.ndarray, parameters: tuple[float, float], draws: Draws, scale: float) -> np.ndarray:
    """HSV saturation s becomes a·s + b; hue and value stay. Colourless pixels have hue 0 (red), as in the published generator."""
    if x.shape[1] == 1:
        return x
    factor, offset = parameters
    value = x.max(axis=1, keepdims=True)
    gap = value - x
    colour = gap.max(axis=1, keepdims=True)  # value · saturation
    saturation = np.divide(colour, value, out=np.zeros_like(value), where=value > 0)
    hue = np.where(colour > 0, gap / np.where(colour > 0, colour, 1), np.array([0, 1, 1], dtype=np.float32)[:, None, None])
    return value - value * np.clip(saturation * factor + offset, 0, 1) * hue


def jpeg_compression(x: np.ndarray, quality: int, draws: Draws, scale: float) -> np.ndarray:
    """JPEG at a given quality, there and back."""

    def compressed(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _through_pil(x, compressed)


def pixelate(x: np.ndarray, factor: float, draws: Draws, scale: float) -> np.ndarray:
    """Box-filtered down to a share of the size, and up again."""
    side = x.shape[-1]
    small = int(side * factor)
    box = Image.Resampling.BOX
    return _through_pil(x, lambda image: image.resize((small, small), box).resize((side, side), box))


def elastic_transform(x: np.ndarray, parameters: tuple[float, float, float], draws: Draws, scale: float) -> np.ndarray:
    """A random affine map, then random smooth displacements; amplitude, smoothness and affine jitter are shares of the size."""
    side = x.shape[-1]
    amplitude, smoothness, jitter = (share * side for share in parameters)
    centre, arm = side // 2, side // 3
    corners = np.array(
        [[centre + arm, centre + arm], [centre + arm, centre - arm], [centre - arm, centre - arm]], dtype=np.float64
    )
    moved = corners + draws(lambda rng, i: rng.uniform(-jitter, jitter, corners.shape))
    # The map that takes each output pixel back to its source: moved corner -> corner.
    back = np.linalg.solve(np.concatenate([moved, np.ones((len(x), 3, 1))], axis=2), np.broadcast_to(corners, moved.shape))
    rows, columns = np.indices((side, side))
    grid = np.stack([rows, columns, np.ones_like(rows)], axis=-1)
    source = np.einsum("hwk,nkd->ndhw", grid, back, optimize=False)
    x = sample(x, source)
    if amplitude:
        noise = draws(lambda rng, i: rng.uniform(-1, 1, (2, side, side)))
        shift = ndimage.gaussian_filter(noise, (0, 0, smoothness, smoothness), mode="reflect", truncate=3) * amplitude
        x = sample(x, np.stack([rows, columns]) + shift)
    return x


def sample(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Bilinear values of (N, C, S, S) at positions (N, 2, S, S) in pixels (row, column), mirrored at the borders."""
    side = x.shape[-1]
    period = 2 * (side - 1)
    positions = np.abs((positions + period / 2) % period - period / 2)
    positions = np.minimum(positions, side - 1)
    low = np.minimum(positions.astype(int), side - 2)
    share = (positions - low).astype(np.float32)
    everyone = np.arange(len(x))[:, None, None]
    (row, column), (down, right) = (low[:, 0], low[:, 1]), (share[:, 0], share[:, 1])
    result = np.empty_like(x)
    for channel in range(x.shape[1]):
        top = x[everyone, channel, row, column] * (1 - right) + x[everyone, channel, row, column + 1] * right
        bottom = x[everyone, channel, row + 1, column] * (1 - right) + x[everyone, channel, row + 1, column + 1] * right
        result[:, channel] = top * (1 - down) + bottom * down
    return result


def _through_pil(x: np.ndarray, function: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    pixels = np.rint(x * 255).astype(np.uint8)
    grey = x.shape[1] == 1
    results = [
        np.asarray(function(Image.fromarray(image[0] if grey else np.ascontiguousarray(image.transpose(1, 2, 0)))))
        for image in pixels
    ]
    stacked = np.stack(results)
    return (stacked[:, None] if grey else stacked.transpose(0, 3, 1, 2)).astype(np.float32) / 255


TABLE = {
    "contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": (
        elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (jpeg_compression, (80, 65, 58, 50, 40)),
    "saturate": (saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
}
