"""What an evaluation measures on. Imports nothing, so that a job's work can be counted before it starts."""

from collections.abc import Mapping
from typing import Any

BLEND = "blend"  # `corruption` of blended images


def conditions(evaluation: Mapping[str, Any], corruptions: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The image sets of an evaluation, as (corruption, severity): ("none", 0) for clean images, ("blend", thousandths of β).

    >>> conditions({"corrupted": ["fog"], "blend": None}, {"names": ["fog", "snow"], "severities": [1, 2]})
    [('fog', 1), ('fog', 2)]
    """
    if chosen := evaluation["corrupted"]:
        return [(name, at) for name in (corruptions["names"] if chosen is True else chosen) for at in corruptions["severities"]]
    if evaluation["blend"]:
        return [(BLEND, round(1000 * share)) for share in evaluation["blend"]["at"]]
    return [("none", 0)]
