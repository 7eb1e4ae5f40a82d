"""From intervals to verdicts: a condition holds, fails (its opposite holds with the same confidence) or is open.

Conditions are numbers, +1, -1 and 0, so that "and" is `min` and "or" is `max` (Kleene's three-valued logic). A condition on an
interval that is not defined (NaN) is open.
"""

from collections.abc import Iterable

from geed.stats.bootstrap import Interval

HOLDS, OPEN, FAILS = 1, 0, -1
REPRODUCED, PARTLY, CONTRADICTED, INCONCLUSIVE = VERDICTS = ("reproduced", "partly", "contradicted", "inconclusive")


def below(interval: Interval, threshold: float) -> int:
    """Whether the value is below the threshold: holds where the interval ends below it, fails where it starts above."""
    return HOLDS if interval.high < threshold else FAILS if interval.low > threshold else OPEN


def above(interval: Interval, threshold: float) -> int:
    """Whether the value is above the threshold: holds where the interval starts above it, fails where it ends below."""
    return -below(interval, threshold)


def between(interval: Interval, low: float, high: float) -> int:
    """Whether the value lies between two thresholds."""
    return all_of(above(interval, low), below(interval, high))


def sign(estimate: float, p: float, level: float) -> int:
    """Sign of a difference that a (corrected) test finds at `level`: +1, -1, or 0 where it finds none."""
    if not p < level:
        return 0
    return 1 if estimate > 0 else -1


def all_of(*conditions: int) -> int:
    """Logical and: fails as soon as one fails, holds where all hold."""
    return min(conditions)


def any_of(*conditions: int) -> int:
    """Logical or: holds as soon as one holds, fails where all fail."""
    return max(conditions)


def given(premise: int, conclusion: int) -> int:
    """A conclusion that is tested only where its premise holds; open elsewhere."""
    return conclusion if premise == HOLDS else OPEN


def verdict(rule: int, parts: Iterable[int] = ()) -> str:
    """The verdict of a rule: `reproduced` where it holds, `contradicted` where it fails, else `partly` where a stated part holds.

    >>> verdict(OPEN, [OPEN, HOLDS])
    'partly'
    """
    if rule == HOLDS:
        return REPRODUCED
    if rule == FAILS:
        return CONTRADICTED
    return PARTLY if HOLDS in list(parts) else INCONCLUSIVE


def overall(headline: str, comparisons: Iterable[str]) -> str:
    """The verdict on an average over comparisons, beside the comparisons' own.

    The average decides, but a claim that a comparison contradicts is not `reproduced`, nor one that a comparison reproduces
    `contradicted`: both are `partly`; where the average is open, one comparison that (partly) reproduces the claim makes it so.

    >>> overall("reproduced", ["reproduced", "inconclusive"]), overall("reproduced", ["reproduced", "contradicted"])
    ('reproduced', 'partly')
    """
    comparisons = list(comparisons)
    supported = REPRODUCED in comparisons or PARTLY in comparisons
    if headline == REPRODUCED:
        return PARTLY if CONTRADICTED in comparisons else REPRODUCED
    if headline == CONTRADICTED:
        return PARTLY if supported else CONTRADICTED
    return PARTLY if supported else headline


def conjunction(parts: Iterable[str]) -> str:
    """The verdict on a claim that states several things: all of them, some of them (`partly`), or none.

    >>> conjunction(["reproduced", "contradicted"]), conjunction(["contradicted", "inconclusive"])
    ('partly', 'contradicted')
    """
    parts = list(parts)
    if all(part == REPRODUCED for part in parts):
        return REPRODUCED
    if REPRODUCED in parts or PARTLY in parts:
        return PARTLY
    return CONTRADICTED if CONTRADICTED in parts else INCONCLUSIVE


def disjunction(comparisons: Iterable[str]) -> str:
    """The verdict on a claim that something happens somewhere: one comparison that shows it reproduces it.

    It is `partly` where another comparison contradicts it, and `contradicted` where all do.

    >>> disjunction(["reproduced", "inconclusive"]), disjunction(["contradicted", "inconclusive"])
    ('reproduced', 'inconclusive')
    """
    comparisons = list(comparisons)
    if all(part == CONTRADICTED for part in comparisons):
        return CONTRADICTED
    if REPRODUCED in comparisons:
        return PARTLY if CONTRADICTED in comparisons else REPRODUCED
    return PARTLY if PARTLY in comparisons else INCONCLUSIVE
