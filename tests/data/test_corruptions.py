"""Corruptions: determinism, severity, and the arithmetic ones against plain loops written from their definitions."""

import colorsys
import io
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

from geed import seeds
from geed.data import loading
from geed.data.corruptions import FAMILIES, NAMES, SEVERITIES, blur, corrupt, digital, noise, weather
from geed.errors import GeedError

TABLE = noise.TABLE | blur.TABLE | weather.TABLE | digital.TABLE

# Published parameters that do not order the severities by distance to the original, and why.
NOT_MONOTONE = {
    "glass_blur": "severities 2 and 3 blur more but, like 1, shuffle once, and the blur undoes part of the shuffle",
    "motion_blur": "severities 3 and 4 differ only in taps beyond four standard deviations",
    "procedural_frost": "severities 4 and 5 weigh the image less as they add more",
    "spatter": "severity 3 is the last of water, 4 the first of mud",
    "elastic_transform": "the affine jitter falls as the elastic part grows",
    "saturate": "severities 1 and 2 take colour away, 3 to 5 add it",
}
# On digits of 15 pixels besides: pixelate's grids of 14, 13, 12, 11 and 9 cells fall between strokes or on them by chance, and
# the flakes of snow's severity 4 are as long as the image.
NOT_MONOTONE_SMALL = {*NOT_MONOTONE, "pixelate", "snow"}


@pytest.fixture(scope="module")
def photos():
    return loading.load("photo_patches", "test", limit=60)


@pytest.fixture(scope="module")
def digits():
    return loading.load("digits", "test", limit=40, size=15)


def stream(name, severity, identity, seed="s"):
    return seeds.rng("corruption", seed, name, severity, identity)


def to_bytes(values):
    return np.rint(np.clip(values, 0, 1) * 255)


def test_the_light_list_of_names_is_the_table():
    modules = {"noise": noise, "blur": blur, "weather": weather, "digital": digital}
    assert {family: tuple(module.TABLE) for family, module in modules.items()} == FAMILIES
    assert len(NAMES) == len(set(NAMES)) == 19
    assert all(len(parameters) == len(SEVERITIES) for _, parameters in TABLE.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [8, 15, 32, 45])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_range_bytes_and_determinism(name, size, channels):
    images = loading.load("photo_patches", "test", limit=4, size=size, channels=channels)
    before = images.images.clone()
    result = corrupt(images.images, name, 3, ids=images.ids, seed="s")
    assert result.shape == before.shape and result.dtype == torch.float32
    assert torch.equal(images.images, before)
    assert torch.equal((result * 255).round() / 255, result)
    assert result.min() >= 0 and result.max() <= 1
    if (name, channels) != ("saturate", 1):
        assert not torch.equal(result, before)
    # The same image alone, and in a batch in another order and memory layout.
    alone = torch.cat([corrupt(images.images[i : i + 1], name, 3, ids=images.ids[i : i + 1], seed="s") for i in range(4)])
    assert torch.equal(alone, result)
    turned = images.images.flip(0).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(corrupt(turned, name, 3, ids=images.ids.flip(0), seed="s").flip(0), result)


def test_batches_beyond_the_internal_one(digits):
    images, ids = digits.images.repeat(8, 1, 1, 1), torch.arange(320)
    whole = corrupt(images, "elastic_transform", 2, ids=ids, seed="s")
    assert torch.equal(whole[300:], corrupt(images[300:], "elastic_transform", 2, ids=ids[300:], seed="s"))


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "snow", "elastic_transform"])
def test_random_ones_depend_on_id_seed_and_severity(name, photos):
    twins = photos.images[:1].repeat(2, 1, 1, 1)
    first = corrupt(twins, name, 1, ids=torch.tensor([0, 1]), seed="s")
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, corrupt(twins, name, 1, ids=torch.tensor([0, 1]), seed="t"))
    assert not torch.equal(first, corrupt(twins, name, 2, ids=torch.tensor([0, 1]), seed="s"))


def distances(name, images):
    return [
        (corrupt(images.images, name, s, ids=images.ids, seed="s") - images.images).square().mean().sqrt() for s in SEVERITIES
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("photos", name) for name in NAMES if name not in NOT_MONOTONE]
    + [("digits", name) for name in NAMES if name not in NOT_MONOTONE_SMALL],
)
def test_severity_is_monotone_in_distance(kind, name, request):
    found = distances(name, request.getfixturevalue(kind))
    assert all(a < b for a, b in itertools.pairwise(found)), found


@pytest.mark.parametrize("name", NOT_MONOTONE)
def test_the_exceptions_corrupt_at_every_severity(name, photos):
    assert min(distances(name, photos)) > 0.01


def test_bytes_are_stable():
    """A fixed image and its corrupted bytes: a change of any algorithm or random stream must be a decision, seen here."""
    ramp = torch.linspace(0, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    found = {name: int((corrupt(ramp, name, 4, ids=torch.tensor([7]), seed="s") * 255).round().sum()) for name in NAMES}
    assert found == STABLE


# ---- plain re-implementations ----------------------------------------------------------------------------------------------


def reference_gaussian_noise(x, sd, rng):
    return x + sd * rng.standard_normal(x.shape, dtype=np.float32)


def reference_speckle_noise(x, sd, rng):
    return x * (1 + sd * rng.standard_normal(x.shape, dtype=np.float32))


def reference_shot_noise(x, photons, rng):
    return rng.poisson(x * photons) / photons


def reference_impulse_noise(x, amount, rng):
    u, y = rng.random(x.shape, dtype=np.float32), x.copy()
    y[u < amount] = 1
    y[u < amount / 2] = 0
    return y


def reference_contrast(x, factor, rng):
    y = x.astype(np.float64)
    for channel in range(len(x)):
        mean = math.fsum(y[channel].ravel()) / y[channel].size
        y[channel] = mean + factor * (y[channel] - mean)
    return y


def _in_hsv(x, change):
    y = np.empty_like(x, dtype=np.float64)
    for row, column in np.ndindex(x.shape[1:]):
        h, s, v = colorsys.rgb_to_hsv(*map(float, x[:, row, column]))
        y[:, row, column] = colorsys.hsv_to_rgb(h, *change(s, v))
    return y


def reference_brightness(x, offset, rng):
    return _in_hsv(x, lambda s, v: (s, min(v + offset, 1)))


def reference_saturate(x, parameters, rng):
    return _in_hsv(x, lambda s, v: (min(s * parameters[0] + parameters[1], 1), v))


def reference_pixelate(x, factor, rng):
    side = x.shape[-1]
    small = int(side * factor)
    y, z = np.zeros((len(x), small, small)), np.zeros(x.shape)
    # A box takes the pixels whose centres lie in it.
    inside = [[p for p in range(side) if i * side / small < p + 0.5 <= (i + 1) * side / small] for i in range(small)]
    for i, j in np.ndindex(small, small):
        y[:, i, j] = np.rint(x[:, inside[i]][:, :, inside[j]].mean(axis=(1, 2)) * 255) / 255
    for i, j in np.ndindex(side, side):
        z[:, i, j] = y[:, math.floor((i + 0.5) * small / side), math.floor((j + 0.5) * small / side)]
    return z


def reference_jpeg_compression(x, quality, rng):
    stream_ = io.BytesIO()
    Image.fromarray((x.transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(stream_, "jpeg", quality=quality)
    return np.asarray(Image.open(stream_)).transpose(2, 0, 1) / 255


def reference_gaussian_blur(x, sd, rng):
    reach = int(4 * sd + 0.5)
    taps = [math.exp(-(k**2) / (2 * sd**2)) for k in range(-reach, reach + 1)]
    y, side = np.zeros(x.shape), x.shape[-1]
    for i, j in np.ndindex(side, side):
        for a, wa in zip(range(-reach, reach + 1), taps, strict=True):
            for b, wb in zip(range(-reach, reach + 1), taps, strict=True):
                y[:, i, j] += wa * wb * x[:, min(max(i + a, 0), side - 1), min(max(j + b, 0), side - 1)]
    return y / sum(taps) ** 2


def reference_zoom_blur(x, largest, rng):
    side = x.shape[-1]
    middle, count = (side - 1) / 2, round((largest - 1) / 0.01) + 1
    y = x.astype(np.float64)
    for step in range(count):
        for i, j in np.ndindex(side, side):
            r, c = middle + (i - middle) / (1 + 0.01 * step), middle + (j - middle) / (1 + 0.01 * step)
            a, b = min(int(r), side - 2), min(int(c), side - 2)
            y[:, i, j] += (
                (a + 1 - r) * (b + 1 - c) * x[:, a, b]
                + (a + 1 - r) * (c - b) * x[:, a, b + 1]
                + (r - a) * (b + 1 - c) * x[:, a + 1, b]
                + (r - a) * (c - b) * x[:, a + 1, b + 1]
            )
    return y / (count + 1)


def reference_motion_blur(x, parameters, rng):
    radius, sd = parameters
    angle, side = math.radians(rng.uniform(-45, 45)), x.shape[-1]
    y, total = np.zeros(x.shape), 0.0
    for k in range(2 * radius + 1):
        weight = math.exp(-(k**2) / (2 * sd**2))
        down, right = math.ceil(k * math.sin(angle) - 0.5), math.ceil(k * math.cos(angle) - 0.5)
        for i, j in np.ndindex(side, side):
            y[:, i, j] += weight * x[:, min(max(i + down, 0), side - 1), min(max(j + right, 0), side - 1)]
        total += weight
    return y / total


REFERENCES = {name.removeprefix("reference_"): function for name, function in globals().items() if name.startswith("reference_")}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("severity", [1, 5])
def test_against_plain_loops(name, severity, photos):
    images, ids = photos.images[:2], photos.ids[:2]
    found = (corrupt(images, name, severity, ids=ids, seed="s") * 255).numpy()
    for i in range(2):
        expected = to_bytes(
            REFERENCES[name](images[i].numpy(), TABLE[name][1][severity - 1], stream(name, severity, int(ids[i])))
        )
        off = np.abs(found[i] - expected)
        # Values halfway between two bytes may round either way in another order of operations.
        assert off.max() <= 1.01


def test_closed_forms():
    grey = torch.full((1, 3, 32, 32), 102 / 255)
    ids = torch.zeros(1, dtype=torch.int64)
    for name in (
        "gaussian_blur",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "contrast",
        "pixelate",
        "elastic_transform",
    ):
        assert torch.equal(corrupt(grey, name, 5, ids=ids), grey), f"{name} must leave a constant image as it is"
    assert torch.allclose(corrupt(grey, "brightness", 5, ids=ids), torch.tensor(178.5 / 255), atol=0.6 / 255)
    black = torch.zeros(1, 1, 16, 16)
    for name in ("shot_noise", "speckle_noise", "fog", "saturate"):
        assert not corrupt(black, name, 5, ids=ids).any(), f"{name} must leave a black image black"


def test_noise_has_the_published_strength():
    middle, ids = torch.full((200, 3, 16, 16), 0.5), torch.arange(200)
    for severity in SEVERITIES:
        for name, expected in {
            "gaussian_noise": noise.TABLE["gaussian_noise"][1][severity - 1],
            "speckle_noise": 0.5 * noise.TABLE["speckle_noise"][1][severity - 1],
            "shot_noise": (0.5 / noise.TABLE["shot_noise"][1][severity - 1]) ** 0.5,
            "impulse_noise": 0.5 * noise.TABLE["impulse_noise"][1][severity - 1] ** 0.5,
        }.items():
            found = (corrupt(middle, name, severity, ids=ids) - 0.5).square().mean().sqrt().item()
            assert found == pytest.approx(expected, rel=0.03), name


def test_lengths_scale_with_larger_images():
    edge = torch.zeros(1, 1, 128, 128)
    edge[..., 64:] = 1
    small, large = (
        corrupt(edge[..., 48:80, 48:80], "gaussian_blur", 5, ids=torch.zeros(1)),
        corrupt(edge, "gaussian_blur", 5, ids=torch.zeros(1)),
    )
    # The width over which the step rises from 16 to 84 % is two standard deviations: 2 pixels of 32, 8 of 128.
    assert ((small[0, 0, 16] > 0.16) & (small[0, 0, 16] < 0.84)).sum() == 2
    assert ((large[0, 0, 64] > 0.16) & (large[0, 0, 64] < 0.84)).sum() == 8


def test_fog_and_frost_leave_something_to_see(photos):
    for name in ("fog", "procedural_frost"):
        result = corrupt(photos.images, name, 5, ids=photos.ids)
        assert (result.std(dim=(1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "gausian_noise"}, "did you mean 'gaussian_noise'"),
        ({"name": "frost"}, "procedural_frost"),
        ({"severity": 6}, "from 1 to 5, found 6"),
        ({"severity": 0}, "from 1 to 5, found 0"),
        ({"images": torch.rand(2, 2, 8, 8)}, "found shape (2, 2, 8, 8)"),
        ({"images": torch.rand(2, 1, 8, 9)}, "found shape (2, 1, 8, 9)"),
        ({"images": torch.rand(2, 1, 7, 7)}, "S >= 8"),
        ({"images": torch.full((2, 1, 8, 8), 2.0)}, "values in [0, 1]"),
        ({"images": torch.full((2, 1, 8, 8), torch.nan)}, "values in [0, 1]"),
        ({"ids": torch.arange(3)}, "3 ids for 2 images"),
    ],
)
def test_bad_input(change, words):
    arguments = {"images": torch.rand(2, 1, 8, 8), "name": "fog", "severity": 1, "ids": torch.arange(2)} | change
    with pytest.raises(GeedError) as error:
        corrupt(arguments.pop("images"), arguments.pop("name"), arguments.pop("severity"), **arguments)
    assert words in str(error.value)


def test_names_need_no_heavy_import():
    import subprocess
    import sys

    code = "import sys, geed.data.corruptions as c; assert c.NAMES and not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


STABLE = {
    "gaussian_noise": 97386,
    "shot_noise": 97667,
    "impulse_noise": 97849,
    "speckle_noise": 97389,
    "defocus_blur": 97920,
    "glass_blur": 94750,
    "motion_blur": 96715,
    "zoom_blur": 97920,
    "gaussian_blur": 97920,
    "snow": 143550,
    "procedural_frost": 129539,
    "fog": 103380,
    "brightness": 113619,
    "spatter": 96931,
    "contrast": 97920,
    "elastic_transform": 98119,
    "pixelate": 98112,
    "jpeg_compression": 97667,
    "saturate": 81642,
}
