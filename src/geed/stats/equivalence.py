"""Equivalence by an interval inside a margin."""

from geed.stats.bootstrap import Interval


def equivalent(interval: Interval, margin: float) -> int:
    """Whether a difference is negligible: +1 its interval lies inside ±margin, -1 it lies wholly outside, 0 neither.

    An interval of confidence 1 - 2a inside the margin is the same as two one-sided tests at level a (Schuirmann 1987); the 95 %
    intervals used here are therefore tests at 2.5 %, stricter than the usual 5 %.
    """
    if interval.low > -margin and interval.high < margin:
        return 1
    return -1 if interval.low > margin or interval.high < -margin else 0
