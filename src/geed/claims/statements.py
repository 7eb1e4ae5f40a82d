"""Claims that state several things of every comparison: statistics, conditions on them, and one verdict over comparisons."""

from collections.abc import Callable, Mapping, Sequence

from geed.claims.trial import Decision, Statistics, View, mean
from geed.claims.verdicts import OPEN, conjunction, overall, verdict
from geed.stats.bootstrap import Array, Interval

# Comparison -> its statistics by name; `all` is the mean over comparisons.
Found = dict[str, Statistics]


def over_comparisons(found: Found) -> Found:
    """`found` with the mean of each statistic over comparisons, as `all`."""
    names = dict.fromkeys(part for statistics in found.values() for part in statistics)
    return found | {"all": {part: mean(statistics.get(part) for statistics in found.values()) for part in names}}


def condition(view: View, draws: Array | None, side: Callable[[Interval, float], int], threshold: str) -> int:
    """Whether a statistic is on one side (`above`, `below`) of a threshold of the settings; open where it is not defined."""
    return OPEN if draws is None else side(view.interval(draws), view.settings[threshold])


def judge(found: Found, headline: str, rule: Callable[[Statistics], Mapping[str, int]], notes: Sequence[str] = ()) -> Decision:
    """Decide a claim that states several things of every comparison.

    Args:
        found: statistics by comparison, `all` among them.
        headline: the statistic that is the claim's estimate.
        rule: the conditions on what the claim states, by name.
        notes: what the result should say.
    """
    stated = {name: {part: verdict(own) for part, own in rule(statistics).items()} for name, statistics in found.items()}
    verdicts = {name: conjunction(parts.values()) for name, parts in stated.items()}
    mean_verdict = verdicts.pop("all")
    parts = verdicts | {f"{name}: {part}": own for name in verdicts for part, own in stated[name].items()}
    return Decision(overall(mean_verdict, verdicts.values()), found["all"][headline], parts, list(notes))
