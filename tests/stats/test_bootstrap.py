import tracemalloc

import numpy as np
import pytest

from geed.errors import GeedError
from geed.seeds import rng
from geed.stats.bootstrap import Bootstrap, expansion, interval


def _values(*names, seeds=3, images=20):
    return rng("test", *names).normal(size=(seeds, images))


def test_estimate_is_the_plain_mean_and_draws_match_a_double_loop():
    values = _values("loop")
    arms = Bootstrap("loop", resamples=200)
    arms.add("digits", {"a": values})
    draws = arms.means()["a"]
    images = rng("loop", "images", "digits", 20).integers(20, size=(200, 20))
    seeds = rng("loop", "seeds", 3).multinomial(3, [1 / 3] * 3, size=200)
    slow = [sum(seeds[b, s] * values[s, i] for s in range(3) for i in images[b]) / 60 for b in range(200)]
    assert draws[0] == pytest.approx(values.mean(), abs=1e-15)
    np.testing.assert_allclose(draws[1:], slow, atol=1e-14)


def test_arms_are_paired_by_seed_and_image_even_when_added_apart():
    values = _values("paired")
    arms = Bootstrap("paired", resamples=200)
    arms.add("digits", {"a": values})
    arms.add("digits", {"b": values + 1})
    means = arms.means()
    np.testing.assert_allclose(means["b"] - means["a"], 1, atol=1e-12)


def test_other_images_are_drawn_apart_but_the_same_seeds():
    values = _values("apart")
    by_seed = np.repeat(values.mean(axis=1, keepdims=True), 20, axis=1)
    arms = Bootstrap("apart", resamples=200)
    arms.add("digits", {"a": values, "seeds": by_seed})
    arms.add("photographs", {"b": values, "same seeds": by_seed})
    means = arms.means()
    np.testing.assert_allclose(means["seeds"], means["same seeds"], atol=1e-12)
    within = np.corrcoef((means["a"] - means["seeds"])[1:], (means["b"] - means["same seeds"])[1:])[0, 1]
    assert abs(within) < 0.25


def test_names_fix_the_draws():
    values = _values("named")

    def draws(*names):
        arms = Bootstrap(*names, resamples=100)
        arms.add("digits", {"a": values})
        return arms.means()["a"]

    np.testing.assert_array_equal(draws("K1"), draws("K1"))
    assert (draws("K1")[1:] != draws("K2")[1:]).any()


def test_blocks_of_draws_do_not_change_them(monkeypatch):
    values = _values("blocks")

    def draws():
        arms = Bootstrap("blocks", resamples=100)
        arms.add("digits", {"a": values})
        return arms.means()["a"]

    whole = draws()
    monkeypatch.setattr("geed.stats.bootstrap._BLOCK", 70)
    np.testing.assert_allclose(draws(), whole, atol=1e-14)


def test_a_seed_left_out_is_out():
    values = np.stack([np.full(20, 0.0), np.full(20, 1.0), np.full(20, 100.0)])
    arms = Bootstrap("without", resamples=100)
    arms.add("digits", {"a": values})
    draws = arms.means(without=2)["a"]
    assert draws[0] == 0.5
    assert set(np.round(draws[1:], 9)) == {0.0, 0.5, 1.0}


def test_arms_of_other_seeds_are_drawn_apart_and_keep_theirs():
    few, many = (np.repeat(_values(name, seeds=count, images=1), 20, axis=1) for name, count in (("few", 2), ("many", 4)))
    arms = Bootstrap("numbers", resamples=4000)
    arms.add("digits", {"many": many}, seeds=(0, 1, 2, 3))
    arms.add("photographs", {"few": few}, seeds=(0, 1))
    means = arms.means(without=3)
    assert means["many"][0] == pytest.approx(many[:3].mean()) and means["few"][0] == pytest.approx(few.mean())
    assert abs(np.corrcoef(means["many"][1:], means["few"][1:])[0, 1]) < 0.06


def _coverage(seeds, sd, *, images=60, repeats=250, small_sample=None):
    """Share of simulated studies whose interval holds the truth, 0; `sd`: of seeds, of images (shared by seeds), of noise."""
    hits = 0
    for repeat in range(repeats):
        draw = rng("coverage", seeds, repeat).normal
        values = draw(0, sd[0], (seeds, 1)) + draw(0, sd[1], (1, images)) + draw(0, sd[2], (seeds, images))
        arms = Bootstrap("coverage", repeat, resamples=400)
        arms.add("digits", {"a": values})
        bounds = interval(arms.means(small_sample=small_sample)["a"], 0.95)
        hits += bounds.low <= 0 <= bounds.high
    return hits / repeats


def test_intervals_cover_what_they_say_where_seeds_are_many():
    assert 0.88 <= _coverage(12, (1, 1, 1)) <= 0.98


def test_images_shared_by_seeds_do_not_count_once_per_seed():
    assert _coverage(8, (0.01, 1, 1)) >= 0.9  # drawing images anew for each seed covers less than 0.85 here


def test_few_seeds_cover_too_little_and_the_expansion_mends_it():
    assert _coverage(3, (1, 0.3, 0.3)) < 0.85
    assert 0.91 <= _coverage(3, (1, 0.3, 0.3), small_sample=0.95) <= 0.99


def test_expansion_is_students_over_the_normal():
    from scipy import stats

    assert expansion(5, 0.9) == pytest.approx((5 / 4) ** 0.5 * stats.t.ppf(0.95, 4) / stats.norm.ppf(0.95))


def test_memory_stays_small_at_ten_thousand_images():
    values = np.zeros((5, 10_000))
    tracemalloc.start()
    arms = Bootstrap("memory", resamples=2000)
    arms.add("digits", dict.fromkeys(range(10), values))
    arms.means()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 2**20


def test_interval_and_p_value():
    draws = np.array([0.5, *np.linspace(-0.1, 1.0, 1001)])
    bounds = interval(draws, 0.9)
    assert (bounds.estimate, bounds.low, bounds.high) == pytest.approx((0.5, -0.045, 0.945))
    assert bounds.p == pytest.approx(2 * (1 + (draws[1:] <= 0).sum()) / 1002)
    assert interval(np.ones(1001), 0.95).p == pytest.approx(2 / 1001)
    assert interval(np.zeros(1001), 0.95).p == 1
    assert np.isnan(interval(np.array([1.0, 2.0, np.inf]), 0.95).low)


@pytest.mark.parametrize("values", [np.zeros((2, 20)), np.zeros((3, 0)), np.full((3, 20), np.nan)])
def test_bad_arms_are_refused(values):
    with pytest.raises(GeedError, match="a: expected"):
        Bootstrap("bad", resamples=10).add("digits", {"a": values}, seeds=(0, 1, 2))


def test_a_small_sample_of_positive_values_stays_positive_and_covers():
    hits, repeats, seeds = 0, 250, 4
    for repeat in range(repeats):
        stream = np.random.default_rng(repeat)
        ratio = np.exp(stream.normal(0, 0.8, size=(2, seeds, 1)))  # seeds differ by factors; the true log ratio of medians is 0
        values = ratio * stream.uniform(0.9, 1.1, size=(2, seeds, 40))
        arms = Bootstrap("test", repeat, resamples=400)
        arms.add("images", {"a": values[0], "b": values[1]}, positive=True)
        means = arms.means(small_sample=0.95)
        assert (means["a"] > 0).all() and np.isfinite(np.log(means["a"])).all()
        found = interval(np.log(means["a"] / means["b"]), 0.95)
        hits += found.low <= 0 <= found.high
    assert hits / repeats > 0.91


def test_zeros_among_positive_values_stay_zero():
    arms = Bootstrap("test", resamples=50)
    arms.add("images", {"none": np.zeros((3, 5)), "some": np.eye(3, 5)}, positive=True)
    means = arms.means(small_sample=0.95)
    assert (means["none"] == 0).all() and np.isfinite(means["some"]).all() and (means["some"] >= 0).all()


def test_large_samples_are_expanded_alike_on_either_scale():
    values = 5 + np.random.default_rng(0).normal(0, 0.01, size=(8, 50))
    bounds = []
    for positive in (False, True):
        arms = Bootstrap("test", resamples=500)
        arms.add("images", {"a": values}, positive=positive)
        found = interval(arms.means(small_sample=0.95)["a"], 0.95)
        bounds.append((found.low, found.high))
    assert np.allclose(*bounds, atol=1e-4)
