"""Properties of the rules, over all combinations of what their conditions may say."""

import itertools

import numpy as np
import pytest

from geed.claims import verdicts
from geed.claims.verdicts import FAILS, HOLDS, OPEN, VERDICTS
from geed.seeds import rng
from geed.stats.bootstrap import Interval

STATES = (HOLDS, OPEN, FAILS)
PAIRS = list(itertools.product(STATES, STATES))


def _interval(low, high):
    return Interval((low + high) / 2, low, high, 0.5)


@pytest.mark.parametrize("case", range(200))
def test_conditions_agree_with_their_intervals(case):
    low, high = sorted(rng("verdicts", case).normal(size=2))
    threshold = rng("threshold", case).normal()
    found = verdicts.below(_interval(low, high), threshold)
    assert (found == HOLDS) == (high < threshold) and (found == FAILS) == (low > threshold)
    assert verdicts.above(_interval(low, high), threshold) == -found
    # Below the one or above the other threshold is not between them, whatever the interval.
    inside = verdicts.between(_interval(low, high), threshold - 1, threshold)
    assert (inside == HOLDS) == (threshold - 1 < low and high < threshold)
    assert (inside == FAILS) == (high < threshold - 1 or low > threshold)
    # A narrower interval never turns a condition round.
    middle = (low + high) / 2
    assert verdicts.below(_interval((low + middle) / 2, (high + middle) / 2), threshold) in ((found,) if found else STATES)


def test_an_undefined_interval_leaves_conditions_open():
    undefined = Interval(*[float("nan")] * 4)
    assert verdicts.below(undefined, 0) == verdicts.above(undefined, 0) == verdicts.between(undefined, 0, 1) == OPEN
    assert verdicts.sign(1.0, float("nan"), 0.05) == 0


def test_sign_needs_the_test():
    assert [verdicts.sign(x, p, 0.05) for x, p in ((1, 0.01), (-1, 0.01), (1, 0.05), (-1, 0.5))] == [1, -1, 0, 0]


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_and_or_not_are_kleenes(a, b):
    assert verdicts.all_of(a, b) == -verdicts.any_of(-a, -b)
    if OPEN not in (a, b):
        assert verdicts.all_of(a, b) == (HOLDS if a == b == HOLDS else FAILS)
    # An open condition stays consistent with both of its outcomes.
    outcomes = {verdicts.all_of(x, y) for x in _settled(a) for y in _settled(b)}
    assert verdicts.all_of(a, b) == (outcomes.pop() if len(outcomes) == 1 else OPEN)


def _settled(state):
    return (state,) if state else (HOLDS, FAILS)


@pytest.mark.parametrize(("premise", "conclusion"), PAIRS)
def test_a_conclusion_counts_only_where_its_premise_holds(premise, conclusion):
    assert verdicts.given(premise, conclusion) == (conclusion if premise == HOLDS else OPEN)


@pytest.mark.parametrize(("rule", "part"), PAIRS)
def test_verdict_of_a_rule(rule, part):
    found = verdicts.verdict(rule, [part])
    assert (found == "reproduced") == (rule == HOLDS)
    assert (found == "contradicted") == (rule == FAILS)
    assert (found == "partly") == (rule == OPEN and part == HOLDS)


@pytest.mark.parametrize("several", list(itertools.combinations_with_replacement(VERDICTS, 3)))
def test_verdicts_of_several_parts(several):
    both, some = verdicts.conjunction(several), verdicts.disjunction(several)
    assert both in VERDICTS and some in VERDICTS
    for order in itertools.permutations(several):
        assert verdicts.conjunction(order) == both and verdicts.disjunction(order) == some
    assert (both == "reproduced") == (set(several) == {"reproduced"})
    assert (some == "reproduced") == ("reproduced" in several and "contradicted" not in several)
    if both == "contradicted":
        assert "contradicted" in several and not {"reproduced", "partly"} & set(several)
    assert (some == "contradicted") == (set(several) == {"contradicted"})
    assert verdicts.conjunction([several[0]]) == verdicts.disjunction([several[0]]) == several[0]


@pytest.mark.parametrize("headline", VERDICTS)
@pytest.mark.parametrize("comparisons", list(itertools.combinations_with_replacement(VERDICTS, 2)))
def test_an_average_and_its_comparisons(headline, comparisons):
    found = verdicts.overall(headline, comparisons)
    if found == "reproduced":
        assert headline == "reproduced" and "contradicted" not in comparisons
    if found == "contradicted":
        assert headline == "contradicted" and not {"reproduced", "partly"} & set(comparisons)
    assert verdicts.overall(headline, [headline]) == headline  # one comparison is the average


def test_a_verdict_does_not_depend_on_units():
    draws = rng("units").normal(size=100)
    for scale in (1e-6, 1e6):
        low, high = np.quantile(draws, [0.025, 0.975]) * scale
        assert verdicts.below(_interval(low, high), 0) == verdicts.below(_interval(low / scale, high / scale), 0)
