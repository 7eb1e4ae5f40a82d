"""The metrics by name: what each one reads and which distances it has. Light to import: planning a study needs no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from geed.errors import GeedError, nearest

Reads = Literal["map", "vector", "logits", "action", "images"]

# name -> what it reads, its distances ("" = it has none to choose from)
CATALOGUE: dict[str, tuple[Reads, tuple[str, ...]]] = {
    "channel_eed": ("map", ("cosine",)),
    "field_eed": ("map", ("cosine",)),
    "feature_correlation": ("map", ("",)),
    "latent_eed": ("vector", ("cosine", "one_minus_cosine", "normalized_cosine", "l2")),
    "relative_invariance": ("vector", ("cosine", "l2")),
    "eed": ("action", ("cosine", "l2")),
    "output_eed": ("logits", ("kl", "cosine", "one_minus_cosine", "l2")),
    "predictive_invariance": ("logits", ("",)),
    "logit_invariance": ("logits", ("",)),
    "effective_invariance": ("logits", ("",)),
    "consistency": ("logits", ("",)),
    "accuracy": ("logits", ("",)),
    "saliency_similarity": ("images", ("",)),
    "jacobian_norm": ("images", ("",)),
}
# Controls that a study measures beside the metrics: how much answers differ between images.
CONTROLS: dict[str, tuple[str, ...]] = {"output_dispersion": ("kl",), "latent_dispersion": ("one_minus_cosine",)}

# Metrics of which a larger value means more invariant; of all others it means less (accuracy means neither).
LARGER_IS_MORE_INVARIANT = frozenset(
    {"saliency_similarity", "effective_invariance", "consistency", "relative_invariance", "feature_correlation"}
)

NAMES: tuple[str, ...] = tuple(
    f"{name}/{distance}" if distance else name for name, (_, distances) in CATALOGUE.items() for distance in distances
)


@dataclass(frozen=True)
class Metric:
    """A metric and its distance ("" where there is none to choose).

    Attributes:
        reads: "map" (N, C, H, W) or "vector" (N, D) of each layer, "action": layers with a user's action, "logits", "images".
    """

    name: str
    distance: str

    @property
    def reads(self) -> Reads:
        """What the metric is computed from."""
        return CATALOGUE[self.name][0]

    @property
    def of_layers(self) -> bool:
        """Whether there is one value per layer, and not one for the whole network."""
        return self.reads in ("map", "vector", "action")

    def __str__(self) -> str:
        return f"{self.name}/{self.distance}" if self.distance else self.name


def parse(text: str) -> Metric:
    """The metric that ``name`` or ``name/distance`` means; a metric of one distance may leave it out.

    >>> parse("channel_eed")
    Metric(name='channel_eed', distance='cosine')

    Raises:
        GeedError: no such metric or distance.
    """
    name, slash, distance = str(text).partition("/")
    if name not in CATALOGUE:
        raise GeedError(f"unknown metric '{text}'{nearest(text, NAMES)}")
    distances = CATALOGUE[name][1]
    if not slash and len(distances) == 1:
        return Metric(name, distances[0])
    if not distance or distance not in distances:
        choices = [f"{name}/{known}" if known else name for known in distances]
        raise GeedError(f"unknown metric '{text}'{nearest(text, choices)}")
    return Metric(name, distance)


def parse_all(texts: str | Iterable[str]) -> list[Metric]:
    """Each metric once, in the order given.

    Raises:
        GeedError: one is unknown, or there is none.
    """
    metrics = list(dict.fromkeys(parse(text) for text in ([texts] if isinstance(texts, str) else texts)))
    if not metrics:
        raise GeedError(f"no metrics given; known: {', '.join(NAMES)}")
    return metrics


def check(text: str) -> tuple[str, str]:
    """Split the name of a metric or of a control into (name, distance); the distance is "" where there is none to choose.

    >>> check("output_eed/kl"), check("output_dispersion/kl"), check("consistency")
    (('output_eed', 'kl'), ('output_dispersion', 'kl'), ('consistency', ''))

    Raises:
        GeedError: no such metric or distance.
    """
    name, _, distance = str(text).partition("/")
    if name in CONTROLS and distance in CONTROLS[name]:
        return name, distance
    metric = parse(text)
    return metric.name, metric.distance
