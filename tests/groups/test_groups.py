"""Group axioms, actions and their limits, for every group."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geed import groups
from geed.errors import GeedError

EXACT = [
    "trivial",
    "rotations:1",
    "rotations:2",
    "rotations:4",
    "reflections",
    "dihedral:1",
    "dihedral:2",
    "dihedral:4",
    "translations:x=3",
    "translations:y=4",
    "translations:x=3,y=2",
    "reflections*translations:y=2",
    "reflections*rotations:2",
]
INTERPOLATED = ["rotations:3", "rotations:8", "dihedral:6"]
SAMPLED = ["sampled_rotations:n=5,seed=1", "sampled_translations:n=5"]


@pytest.mark.parametrize("spec", EXACT + INTERPOLATED)
def test_axioms(spec):
    group = groups.parse(spec)
    elements = range(group.order)
    for i in elements:
        assert group.compose(0, i) == i == group.compose(i, 0)
        assert group.compose(i, group.inverse(i)) == 0 == group.compose(group.inverse(i), i)
        assert sorted(group.compose(i, j) for j in elements) == list(elements)
        for j in elements:
            for k in elements:
                assert group.compose(group.compose(i, j), k) == group.compose(i, group.compose(j, k))


@pytest.mark.parametrize("spec", EXACT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_exact_actions_are_homomorphisms_and_permute_pixels(spec, dtype):
    group = groups.parse(spec)
    x = torch.arange(12 * 12 * 2).reshape(2, 12, 12).to(dtype)
    assert group.exact
    assert group.exact_on(12, 12)
    assert torch.equal(group.act(0, x), x)
    for i in range(group.order):
        moved = group.act(i, x)
        assert moved.shape == x.shape and moved.dtype == dtype
        assert torch.equal(moved.flatten(1).sort(dim=1).values, x.flatten(1))
        assert i == 0 or not torch.equal(moved, x)
        for j in range(group.order):
            assert torch.equal(group.act(i, group.act(j, x)), group.act(group.compose(i, j), x))


def smooth(side=33, channels=2):
    """Band-limited images without anything outside the disc."""
    axis = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    blobs = [torch.exp(-((x - 0.3 * math.cos(c + 1)) ** 2 + (y - 0.4 * math.sin(c + 1)) ** 2) / 0.05) for c in range(channels)]
    return torch.stack(blobs)


@pytest.mark.parametrize("spec", INTERPOLATED)
def test_interpolated_actions_are_homomorphisms_up_to_interpolation(spec):
    group, x = groups.parse(spec), smooth()
    assert not group.exact and not group.exact_on(33, 33)
    for i in range(group.order):
        for j in range(group.order):
            assert (group.act(i, group.act(j, x)) - group.act(group.compose(i, j), x)).abs().max() < 0.04


def test_everything_outside_the_disc_is_dropped_by_every_element():
    group, x = groups.rotations(8), torch.ones(9, 9)
    for k in range(8):
        moved = group.act(k, x)
        assert moved[0, 0] == 0 and moved[4, 4] == pytest.approx(1)
    x = torch.zeros(9, 9)
    x[0, 0] = 1.0
    assert all(group.act(k, x).abs().max() == 0 for k in range(0, 8, 2))


def test_rotations_are_counterclockwise_and_agree_between_exact_and_interpolated():
    x = smooth(channels=1)[0]
    assert (groups.rotations(8).act(2, x) - torch.rot90(x) * groups.rotations(8).act(0, torch.ones_like(x))).abs().max() < 1e-12
    spot = torch.zeros(33, 33, dtype=torch.float64)
    spot[15:18, 25:28] = 1.0  # to the right of the centre
    moved = groups.rotations(8).act(1, spot)
    row, column = divmod(int(moved.argmax()), 33)
    assert row < 13 and column > 20  # up and to the right


def test_reflections_reverse_columns():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(groups.reflections().act(1, x), torch.tensor([[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]))


def test_translations_shift_right_and_down():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(groups.translations(x=3).act(1, x), torch.tensor([[2.0, 0.0, 1.0], [5.0, 3.0, 4.0]]))
    assert torch.equal(groups.translations(y=2).act(1, x), torch.tensor([[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]))


def test_fractional_shifts_are_fourier_interpolated():
    group = groups.translations(x=3)
    assert not group.exact_on(7, 7) and group.exact_on(7, 9)
    t = torch.arange(7, dtype=torch.float64) * 2 * math.pi / 7
    wave = (torch.sin(t) + torch.cos(2 * t)).expand(7, 7)
    expected = torch.sin(t - 2 * math.pi / 3) + torch.cos(2 * (t - 2 * math.pi / 3))
    assert (group.act(1, wave) - expected).abs().max() < 1e-12
    noise = torch.rand(7, 7, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            assert (group.act(i, group.act(j, noise)) - group.act(group.compose(i, j), noise)).abs().max() < 1e-12


@pytest.mark.parametrize("spec", SAMPLED)
def test_samples_are_logged_repeatable_and_do_not_compose(spec):
    group, again = groups.parse(spec), groups.parse(spec)
    assert group.parameters == again.parameters and group.parameters[0] == 0.0
    assert len(set(group.parameters)) == group.order == 6
    assert list(group.averaged) == [1, 2, 3, 4, 5]
    for call in (lambda: group.compose(1, 2), lambda: group.inverse(1)):
        with pytest.raises(GeedError, match="sample of an infinite group"):
            call()


def test_sampled_actions_are_those_of_their_parameters():
    rotations, x = groups.sampled_rotations(4, seed=3), smooth()
    for k in range(1, 5):
        finer = groups.rotations(360).act(round(math.degrees(rotations.parameters[k])) % 360, x)
        assert (rotations.act(k, x) - finer).abs().max() < 0.05
    shifts, wave = groups.sampled_translations(4), torch.sin(torch.arange(8.0, dtype=torch.float64) * math.pi / 4).expand(3, 8)
    for k in range(5):
        expected = torch.sin(torch.arange(8.0, dtype=torch.float64) * math.pi / 4 - 2 * math.pi * shifts.parameters[k])
        assert (shifts.act(k, wave) - expected).abs().max() < 1e-9


def test_different_seeds_and_sizes_give_different_draws():
    draws = {groups.sampled_rotations(n, seed).parameters[1] for n in (3, 4) for seed in (0, 1)}
    assert len(draws) == 4


@pytest.mark.parametrize("spec", EXACT + INTERPOLATED + SAMPLED)
def test_spec_and_names(spec):
    group = groups.parse(spec)
    assert groups.parse(group.spec) == group
    assert len(set(group.names)) == group.order and group.names[0] == "identity"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rotatons:4", "did you mean 'rotations'"),
        ("rotations", "n is missing"),
        ("rotations:four", "n must be a positive integer; found 'four'"),
        ("rotations:0", "positive integer; found 0"),
        ("rotations:4,4", "expected 'rotations:n=…'"),
        ("translations:z=3", "expected 'translations:x=…,y=…'"),
        ("translations:x=3,x=3", "found 'x=3'"),
        ("reflections:2", "expected 'reflections'"),
        ("rotations:4*translations:x=3", "do not commute"),
        ("rotations:8*reflections", "needs exact groups"),
        ("", "unknown name ''"),
        (4, "must be a string"),
    ],
)
def test_bad_specs_are_refused_in_a_sentence(spec, message):
    with pytest.raises(GeedError) as error:
        groups.parse(spec)
    assert message in str(error.value)


def test_groups_that_do_not_fit_the_images_are_refused():
    for spec in ("rotations:4", "rotations:8", "dihedral:4", "sampled_rotations:n=2"):
        with pytest.raises(GeedError, match="must be square; found 6×8"):
            groups.parse(spec).act(1, torch.zeros(6, 8))
    assert groups.rotations(2).act(1, torch.zeros(6, 8)).shape == (6, 8)
    with pytest.raises(GeedError, match="elements 0 to 3; found 4"):
        groups.rotations(4).act(4, torch.zeros(4, 4))
    with pytest.raises(GeedError, match="last two axes"):
        groups.rotations(4).act(1, torch.zeros(4))


def test_kernels():
    group, probe = groups.dihedral(4), torch.randn(5, dtype=torch.float64)
    assert group.kernel(lambda k, y: y, probe) == tuple(range(8))
    sign = lambda k, y: y if k < 4 else -y  # noqa: E731
    assert group.kernel(sign, probe) == (0, 1, 2, 3)
    pixels = torch.randn(4, 4, dtype=torch.float64)
    assert group.kernel(group.act, pixels) == (0,)
    with pytest.raises(GeedError, match="not one of dihedral:4"):
        group.kernel(lambda k, y: (k + 1) * y, probe)
    with pytest.raises(GeedError, match="must keep the shape"):
        group.kernel(lambda k, y: y[:2], probe)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["rotations:4", "dihedral:4", "reflections", "translations:x=2,y=3"]),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([torch.float16, torch.float32, torch.float64]),
)
def test_inverses_undo(spec, channels, units, dtype):
    group = groups.parse(spec)
    x = torch.randn(2, channels, 6 * units, 6 * units).to(dtype)
    for k in range(group.order):
        assert torch.equal(group.act(group.inverse(k), group.act(k, x)), x)
