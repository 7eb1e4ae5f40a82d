"""Augmentations: uniform over the group, drawn from named streams, one image at a time, within [0, 1]."""

import pytest
import torch
from scipy.stats import chisquare

from geed import groups, seeds
from geed.errors import GeedError
from geed.training.augmentation import Pipeline, group_action
from geed.training.names import AUGMENTATIONS


def images(n=40, channels=2, size=9):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(5))


def augmented(names, x, *stream):
    pipeline = Pipeline(names)
    return pipeline(x, pipeline.streams(*(stream or ("test",))))


@pytest.mark.parametrize("spec", ["rotations:4", "reflections", "dihedral:4", "translations:x=3"])
def test_group_elements_are_uniform_and_each_image_keeps_its_place(spec):
    group, x = groups.parse(spec), images(2000)
    y = augmented([spec], x)
    orbit = torch.stack([group.act(k, x) for k in range(group.order)])
    hits = (orbit == y).flatten(2).all(2)  # (order, N): which element of its own orbit each image became
    assert (hits.sum(0) == 1).all()
    assert chisquare(hits.sum(1).numpy()).pvalue > 1e-3


def test_elements_of_different_images_are_independent():
    x = images(2000)
    kept = (augmented(["reflections"], x) == x).flatten(1).all(1).double()
    correlation = torch.corrcoef(torch.stack([kept[:-1], kept[1:]]))[0, 1]
    assert correlation.abs() < 4 / 2000**0.5


def test_sampled_groups_leave_their_identity_out():
    class Sampled:
        order, averaged = 3, range(1, 3)

        def act(self, k, x):
            return x + k

    y = group_action(Sampled())(torch.zeros(200, 1, 1, 1), seeds.generator("test"))
    assert sorted(y.unique().tolist()) == [1, 2]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_change_images_within_the_unit_interval_and_follow_their_stream(name):
    x = images()
    first, again, other = augmented([name], x), augmented([name], x), augmented([name], x, "other")
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    changed = (first - x).flatten(1).abs().amax(1) > 1e-3
    assert changed.double().mean() > 0.9


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_image_is_augmented_on_its_own(name):
    x = images()
    changed = x.clone()
    changed[7] = 1 - changed[7]
    differs = (augmented([name], x) != augmented([name], changed)).flatten(1).any(1)
    assert differs.nonzero().flatten().tolist() == [7]


def test_a_shared_augmentation_has_the_same_draws_beside_others():
    x = images()
    alone = augmented(["rotations:4"], x)
    after_identity = augmented(["trivial", "rotations:4"], x)
    assert torch.equal(alone, after_identity)


def test_crop_of_a_constant_image_is_that_image_and_of_a_ramp_stays_a_ramp():
    constant = torch.full((20, 1, 15, 15), 0.25)
    torch.testing.assert_close(augmented(["crop"], constant), constant)
    ramp = torch.linspace(0, 1, 15).expand(20, 1, 15, 15)
    steps = augmented(["crop"], ramp)[..., 3:12].diff(dim=-1) * 14  # inside, away from the border: the window's width
    torch.testing.assert_close(steps, steps[:, :, :1, :1].expand_as(steps), rtol=1e-3, atol=1e-4)
    widths = steps[:, 0, 0, 0]
    assert widths.min() >= 0.7 - 1e-3
    assert widths.max() <= 1 + 1e-3
    assert widths.std() > 0.05


def test_noise_has_the_stated_size():
    grey = torch.full((300, 1, 15, 15), 0.5)
    deviation = (augmented(["noise"], grey) - grey).flatten(1).std(1)
    assert deviation.max() < 0.13
    assert deviation.mean() == pytest.approx(0.05, abs=0.01)


def test_erased_square_is_black_and_of_a_third_of_the_side():
    black = (augmented(["erase"], torch.ones(200, 1, 15, 15)) == 0).flatten(1).sum(1)
    assert black.max() == 25
    assert black.min() >= 9  # a corner square, of which a part overhangs


def test_unknown_augmentation_is_refused():
    with pytest.raises(GeedError, match=r"did you mean 'noise'"):
        Pipeline(["nois"])
    with pytest.raises(GeedError, match=r"rotatons:4.*rotations"):
        Pipeline(["rotatons:4"])
