import numpy as np
import pytest
from scipy import stats

from geed.errors import GeedError
from geed.seeds import rng
from geed.stats.bootstrap import Interval
from geed.stats.corrections import holm
from geed.stats.correlation import bootstrap_correlation, kendall, spearman
from geed.stats.equivalence import equivalent


def _holm_by_hand(p):
    order, worst, adjusted = sorted(range(len(p)), key=lambda i: p[i]), 0.0, [0.0] * len(p)
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = worst
    return adjusted


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_holm_agrees_with_the_step_down_loop(count):
    p = rng("holm", count).uniform(size=count) ** 3
    np.testing.assert_allclose(holm(p), _holm_by_hand(list(p)))


def test_holm_on_a_published_example():
    # Holm's procedure as in R's p.adjust(c(.01, .02, .03, .04), "holm")
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04]), [0.04, 0.06, 0.06, 0.06])


def test_holm_leaves_out_what_was_not_tested():
    np.testing.assert_array_equal(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


@pytest.mark.parametrize(("ours", "theirs"), [(spearman, stats.spearmanr), (kendall, stats.kendalltau)])
def test_correlations_with_weights_are_scipys_with_repeats(ours, theirs):
    draw = rng("correlation")
    x, y = draw.integers(6, size=25).astype(float), draw.normal(size=25).round(1)  # with ties
    weights = draw.integers(0, 4, size=(10, 25))
    expected = [theirs(np.repeat(x, row), np.repeat(y, row)).statistic for row in weights]
    np.testing.assert_allclose(ours(x, y, weights.astype(float)), expected, atol=1e-12)


def test_clusters_are_drawn_whole():
    # Within a cluster x and y run opposite ways, between clusters the same way: drawn whole, the correlation never becomes -1.
    x = np.array([0, 1, 10, 11, 20, 21, 30, 31.0])
    y = np.array([1, 0, 11, 10, 21, 20, 31, 30.0])
    draws = bootstrap_correlation(x, y, [0, 0, 1, 1, 2, 2, 3, 3], ("clusters",), 500)["spearman"]
    assert draws[0] == pytest.approx(stats.spearmanr(x, y).statistic)
    alone = draws[1:] < 0  # one cluster drawn four times
    assert 0 < alone.mean() < 0.05
    np.testing.assert_allclose(draws[1:][alone], -1)


def test_a_constant_has_no_correlation():
    draws = bootstrap_correlation([1.0, 1, 1], [1.0, 2, 3], [0, 1, 2], ("constant",), 50)
    assert np.isnan(draws["spearman"]).all() and np.isnan(draws["kendall"]).all()


def test_two_networks_are_too_few():
    with pytest.raises(GeedError, match="at least three"):
        bootstrap_correlation([1.0, 2], [1.0, 2], [0, 1], ("few",), 10)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-0.1, 0.15, 1), (-0.3, 0.1, 0), (0.1, 0.5, 0), (0.25, 0.5, -1), (-0.9, -0.3, -1)]
)
def test_equivalence_is_an_interval_inside_the_margin(low, high, expected):
    assert equivalent(Interval((low + high) / 2, low, high, 0.5), 0.2) == expected
