"""Which measurements a claim's settings ask for, so that nothing else is read."""

from collections.abc import Mapping
from typing import Any

_METRICS = ("layer_metric", "field_metric", "output_metric", "metric", "dispersion_metric", "metrics", "shown_metrics")
_EVALUATIONS = ("evaluation", "corrupted", "near", "far", "saliency", "shift", "spectrum")


def metrics(settings: Mapping[str, Any]) -> set[str] | None:
    """The metrics, as `name` or `name/distance`, that a claim reads; None, for all, where its settings name none.

    Accuracy is always shown, and a network without declared fields has channel_eed in place of field_eed.

    >>> sorted(metrics({"metric": "field_eed/cosine", "resamples": 2000}))
    ['accuracy', 'channel_eed/cosine', 'field_eed/cosine']
    """
    named = {name for key in _METRICS for name in _list(settings.get(key))}
    if not named:
        return None
    return {"accuracy", *named, *(name.replace("field_eed", "channel_eed") for name in named)}


def evaluations(settings: Mapping[str, Any]) -> set[str]:
    """The evaluations that a claim reads.

    >>> sorted(evaluations({"comparisons": {"rotation": {"evaluation": "clean", "far": ["photographs"]}}}))
    ['clean', 'photographs']
    """
    comparisons = settings.get("comparisons", {}).values()
    return {name for entry in comparisons for key in _EVALUATIONS for name in _list(entry.get(key))}


def _list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
