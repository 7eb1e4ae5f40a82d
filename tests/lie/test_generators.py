import math

import pytest
import torch

from geed.errors import GeedError
from geed.lie.generators import derivative, transform
from geed.lie.transforms import COLOUR, NAMES, SPATIAL, parse_all

PAIRS = [(name, resample) for resample in ("bicubic", "bilinear", "fourier") for name in NAMES]
PAIRS = [(name, how) for name, how in PAIRS if how != "fourier" or name.startswith("translation")]


@pytest.mark.parametrize(("name", "resample"), PAIRS)
@pytest.mark.parametrize("shape", [(2, 3, 9, 12), (1, 3, 8, 8), (3, 5, 4)])
def test_it_is_the_derivative_of_the_transformation(name, resample, shape):
    torch.manual_seed(0)
    images, h = torch.rand(shape, dtype=torch.float64), 1e-7
    later = transform(name, h, images, resample)
    earlier = images if resample == "bilinear" else transform(name, -h, images, resample)
    quotient = (later - earlier) / (h if resample == "bilinear" else 2 * h)
    torch.testing.assert_close(derivative(name, images, resample), quotient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "resample"), PAIRS)
def test_zero_is_the_identity_and_parameters_add(name, resample):
    y, x = torch.meshgrid(*[torch.linspace(-1.5, 1.5, 33, dtype=torch.float64)] * 2, indexing="ij")
    image = torch.stack([torch.exp(-4 * ((x - 0.2) ** 2 + y**2)), torch.exp(-3 * (x**2 + (y + 0.1) ** 2)), torch.zeros_like(x)])
    assert torch.equal(transform(name, 0.0, image, resample).round(decimals=12), image.round(decimals=12))
    twice = transform(name, 0.05, transform(name, 0.03, image, resample), resample)
    tolerance = 0.02 if resample == "bilinear" else 2e-3  # of interpolating twice
    torch.testing.assert_close(twice, transform(name, 0.08, image, resample), rtol=0, atol=tolerance)


# What is seen, at one place, goes where the table of docs/lie.md says: (right, down) per unit of t at (X, Y) = (1/2, 1/4).
MOVES = {
    "translation_x": (1, 0),
    "translation_y": (0, 1),
    "rotation": (0.25, -0.5),
    "scale": (0.5, 0.25),
    "shear_x": (0.25, 0),
    "shear_y": (0, 0.5),
    "stretch_x": (0.5, 0),
    "stretch_y": (0, 0.25),
    "hyperbolic_rotation": (0.25, 0.5),
}


@pytest.mark.parametrize("name", SPATIAL)
def test_ramps_have_the_slope_of_the_flow(name):
    # On a ramp the derivative is minus the velocity times the slope: exact for bicubic, away from the border.
    side = 64
    axis = (torch.arange(side, dtype=torch.float64) * 2 + 1 - side) / side
    right, down = axis.expand(side, side), axis[:, None].expand(side, side)
    row, column = 39, 47  # Y = 0.234, X = 0.484
    for ramp, move in zip((right, down), MOVES[name], strict=True):
        found = derivative(name, ramp[None])[0, row, column].item()
        scale = {0.5: axis[column].item(), 0.25: axis[row].item(), 1: 1.0, 0: 0.0}[abs(move)]
        assert found == pytest.approx(-math.copysign(scale, move), abs=1e-12)


def test_angles_are_angles_on_images_that_are_not_square():
    # A disc that turns about the centre stays what it is; one that is stretched along one axis does not.
    height, width = 40, 80
    y = (torch.arange(height, dtype=torch.float64) - (height - 1) / 2)[:, None]
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    disc = torch.exp(-(x**2 + y**2) / 60)[None]
    assert derivative("rotation", disc).abs().max() < 0.01 * derivative("hyperbolic_rotation", disc).abs().max()
    squeezed = torch.exp(-(x**2 / 4 + y**2) / 60)[None]  # round again where a pixel is half as high as wide
    assert derivative("rotation", squeezed, aspect=1.0).abs().max() < 0.01 * derivative("rotation", squeezed).abs().max(), (
        "aspect is what the map depicts"
    )


@pytest.mark.parametrize("size", [15, 16])
def test_fourier_is_exact_for_plane_waves(size):
    k = 3
    phase = 2 * math.pi * k / size * torch.arange(size, dtype=torch.float64)
    wave = torch.sin(phase).expand(2, size, size)
    torch.testing.assert_close(derivative("translation_x", wave, "fourier"), -math.pi * k * torch.cos(phase).expand_as(wave))
    assert derivative("translation_y", wave, "fourier").abs().max() < 1e-12
    torch.testing.assert_close(transform("translation_x", 2 * 5 / size, wave, "fourier"), torch.roll(wave, 5, -1))


def test_colours():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    grey = 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]
    torch.testing.assert_close(derivative("saturation", images), images - grey[:, None])
    torch.testing.assert_close(derivative("brightness", images), images)
    with pytest.raises(GeedError, match=r"saturation: expected colour images \(N, 3, H, W\); found 1 channel"):
        derivative("saturation", images[:, :1])
    assert derivative("brightness", images[:, :1]).shape == (2, 1, 4, 4)


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["rotaton"], {}, "unknown transformation 'rotaton'; did you mean 'rotation'?"),
        ([], {}, "no transformations given"),
        (["rotation"], {"resample": "fourier"}, "rotation: resample='fourier' is for translations"),
        (["rotation"], {"resample": "bicubical"}, "resample: unknown 'bicubical'; did you mean 'bicubic'?"),
        (["saturation"], {"spatial_only": True}, "saturation: acts on colours, which layers do not have"),
    ],
)
def test_one_sentence_says_what_is_wrong(names, options, words):
    with pytest.raises(GeedError) as error:
        parse_all(names, **options)
    assert words in str(error.value)


def test_names_are_taken_once_and_one_alone_is_enough():
    assert parse_all("rotation") == ["rotation"]
    assert parse_all(["scale", "rotation", "scale"]) == ["scale", "rotation"]
    assert set(COLOUR) < set(NAMES)
