"""One-parameter transformations r_t of images, t = 0 the identity: what they are called and what generates them.

A spatial one moves the picture along a flow: (r_t x)(p) = x(exp(-tA) p), with A affine in the position p = (X, Y, 1). X runs to
the right and Y *down*, from the centre of the image, both in pixels over half the image's width (so that angles are angles on
images that are not square); translations count half widths along X and half heights along Y. A pixel is a square: the image's
border is half a pixel outside the outermost centres, at X = ±1. Those of colour act on the three values of each pixel.

Light to import: a command's arguments are checked before torch is there.
"""

from collections.abc import Iterable

from geed.errors import GeedError, nearest

# Name -> the first two rows of A. Positive t moves what is seen to the right, down, counterclockwise, outwards.
SPATIAL: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "translation_x": ((0, 0, 1), (0, 0, 0)),
    "translation_y": ((0, 0, 0), (0, 0, 1)),
    "rotation": ((0, 1, 0), (-1, 0, 0)),
    "scale": ((1, 0, 0), (0, 1, 0)),
    "shear_x": ((0, 1, 0), (0, 0, 0)),
    "shear_y": ((0, 0, 0), (1, 0, 0)),
    "stretch_x": ((1, 0, 0), (0, 0, 0)),
    "stretch_y": ((0, 0, 0), (0, 1, 0)),
    "hyperbolic_rotation": ((0, 1, 0), (1, 0, 0)),
}
COLOUR = ("saturation", "brightness")  # e^t times what a pixel differs from its luma by; e^t times the pixel
NAMES = (*SPATIAL, *COLOUR)

RESAMPLES = ("bicubic", "fourier", "bilinear")
OUTPUTS = ("softmax", "logits")
REDUCTIONS = ("mean_abs", "mean_square", "squared_norm")
# Kinds of layers by which layerwise derivatives are summed up.
TYPES = (
    "activation",
    "pooling",
    "strided_convolution",
    "patch_embedding",
    "convolution",
    "normalisation",
    "attention",
    "other",
)


def parse_all(names: str | Iterable[str], resample: str = "bicubic", spatial_only: bool = False) -> list[str]:
    """Each transformation once, in the order given.

    Args:
        resample: how images are interpolated; "fourier" is for translations.
        spatial_only: refuse transformations of colour, as layers do, whose channels are no colours.

    Raises:
        GeedError: an unknown name, none at all, or one that does not go with the rest.
    """
    chosen = list(dict.fromkeys([names] if isinstance(names, str) else names))
    choose("resample", resample, RESAMPLES)
    if not chosen:
        raise GeedError(f"no transformations given; known: {', '.join(NAMES)}")
    for name in chosen:
        if name not in NAMES:
            raise GeedError(f"unknown transformation '{name}'{nearest(name, NAMES)}")
        if name in COLOUR and spatial_only:
            raise GeedError(f"{name}: acts on colours, which layers do not have; layerwise takes {', '.join(SPATIAL)}")
        if resample == "fourier" and name in SPATIAL and not name.startswith("translation"):
            raise GeedError(f"{name}: resample='fourier' is for translations; expected 'bicubic' or 'bilinear'")
    return chosen


def choose(key: str, value: object, known: tuple[str, ...]) -> None:
    """Raise GeedError, with the nearest, unless `value` is known."""
    if value not in known:
        raise GeedError(f"{key}: unknown '{value}'{nearest(value, known)}")
