"""The metrics by name, for config files, tables and the command line. Imports nothing heavy, so that planning can check names.

A metric is written `name` or `name/distance`; where a metric has distances and none is written, the first is meant.
"""

from geed.errors import GeedError, nearest

# Metric -> its distances, the default first; none where the metric has only one form.
METRICS: dict[str, tuple[str, ...]] = {
    "channel_eed": ("cosine",),
    "field_eed": ("cosine",),
    "latent_eed": ("cosine", "one_minus_cosine", "normalized_cosine", "l2"),
    "output_eed": ("kl", "cosine", "one_minus_cosine", "l2"),
    "eed": ("cosine", "l2"),
    "predictive_invariance": (),
    "logit_invariance": (),
    "saliency_similarity": (),
    "effective_invariance": (),
    "consistency": (),
    "relative_invariance": ("cosine", "l2"),
    "feature_correlation": (),
    "accuracy": (),
}

# Controls that are measured beside the metrics of every study: how much answers differ between images.
CONTROLS: dict[str, tuple[str, ...]] = {"output_dispersion": ("kl",), "latent_dispersion": ("one_minus_cosine",)}

# Metrics of which a larger value means more invariant; of all others it means less (accuracy means neither).
LARGER_IS_MORE_INVARIANT = frozenset(
    {"saliency_similarity", "effective_invariance", "consistency", "relative_invariance", "feature_correlation"}
)


def check(metric: str) -> tuple[str, str]:
    """Split a metric's string into (metric, distance), the default distance filled in; "" where it has none.

    Raises:
        GeedError: no such metric, or no such distance of it.

    >>> check("output_eed")
    ('output_eed', 'kl')
    """
    name, slash, distance = str(metric).partition("/")
    known = METRICS | CONTROLS
    if name not in known:
        raise GeedError(f"unknown metric '{metric}'{nearest(name, known)}")
    distances = known[name]
    if slash and distance not in distances:
        hint = nearest(distance, distances) if distances else "; it has no distances"
        raise GeedError(f"unknown distance '{distance}' of the metric {name}{hint}")
    return name, distance or (distances[0] if distances else "")
