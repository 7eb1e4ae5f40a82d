"""What a claim's settings refer to, for planning: light, no table is read."""

from collections.abc import Iterator, Mapping
from typing import Any

_RUNS = [
    "plain",
    "augmented",
    "equivariant",
    "untrained",
    "learned",
    "hard_coded",
    "weight_scaled",
    "runs",
    "pretrained",
    "random",
    "supervised",
    "contrastive",
    "others",
    "shown",
]
_EVALUATIONS = ("evaluation", "corrupted", "far")
_METRICS = ["layer_metric", "field_metric", "output_metric", "metric", "dispersion_metric", "shown_metrics", "metrics"]


def references(claim: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every name that a claim's settings refer to: (kind, path within the settings, name), kind run, evaluation or group."""
    for index, group in enumerate(settings.get("groups", [])):
        yield "group", f"groups.{index}", group
    for comparison, entry in settings.get("comparisons", {}).items():
        for key, value in entry.items():
            kind = "run" if key in _RUNS else "evaluation" if key in _EVALUATIONS else "group"
            for name in _list(value):
                yield kind, f"comparisons.{comparison}.{key}", name


def runs(claim: str, settings: Mapping[str, Any]) -> list[str]:
    """The runs whose measurements a claim reads, each once, in order of mention."""
    return list(dict.fromkeys(name for kind, _, name in references(claim, settings) if kind == "run"))


def metrics(settings: Mapping[str, Any]) -> set[str]:
    """The metrics, as `name` or `name/distance`, that a claim reads.

    Accuracy is always shown, and a network without declared fields has channel_eed in place of field_eed.
    """
    named = {name for key in _METRICS if key in settings for name in _list(settings[key])}
    return {"accuracy", *named, *(name.replace("field_eed", "channel_eed") for name in named)}


def evaluations(claim: str, settings: Mapping[str, Any]) -> set[str]:
    """The evaluations that a claim reads."""
    return {name for kind, _, name in references(claim, settings) if kind == "evaluation"}


def _list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
