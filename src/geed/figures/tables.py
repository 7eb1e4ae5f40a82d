"""A claim's result and parts as its figure reads them, and their names in words."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geed.claims import parts as claim_parts
from geed.errors import GeedError
from geed.files import read_json
from geed.metrics.registry import LARGER_IS_MORE_INVARIANT

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05  # a Holm-corrected p below it counts as a difference
_TEXT = (
    "group",
    "role",
    "arm",
    "layer",
    "metric",
    "distance",
    "domain",
    "corruption",
)

# Axis labels: what is measured, how, in which unit.
_METRICS = {
    "channel_eed/cosine": "channelwise, −cosine",
    "field_eed/cosine": "field-aware, −cosine",
    "latent_eed/cosine": "latent, −cosine",
    "latent_eed/one_minus_cosine": "latent, 1 − cosine",
    "latent_eed/normalized_cosine": "latent, −cosine ÷ M",
    "latent_eed/l2": "latent, L2",
    "output_eed/kl": "output, KL (nats)",
    "output_eed/cosine": "output, −cosine",
    "output_eed/one_minus_cosine": "output, 1 − cosine",
    "output_eed/l2": "output, L2",
    "predictive_invariance": "output, DI (nats)",
    "logit_invariance": "logits, LI",
    "saliency_similarity": "saliency, SI",
    "jacobian_norm": "σ_max of the Jacobian",
    "effective_invariance": "effective invariance",
    "consistency": "consistency",
    "relative_invariance/cosine": "relative invariance, cosine",
    "relative_invariance/l2": "relative invariance, L2",
    "feature_correlation": "feature correlation",
    "accuracy": "accuracy",
    "output_dispersion/kl": "KL of outputs (nats)",
    "latent_dispersion/one_minus_cosine": "1 − cosine of features",
}


def read(result: Path, parts: Path) -> "tuple[dict[str, Any], pd.DataFrame]":
    """A claim's result and its parts, every column of docs/claims.md present (NaN or "" where the claim does not use it).

    Raises:
        GeedError: a file is absent or damaged, or is not what a claim writes.
    """
    found, table = read_json(result), claim_parts.read(parts)
    for key in ("id", "verdict"):
        if not isinstance(found, dict) or key not in found:
            raise GeedError(f"{result}: expected the result of a claim, found no key '{key}'")
    for column in ("part", "estimate"):
        if column not in table:
            raise GeedError(f"{parts}: expected the parts of a claim, found no column '{column}'")
    return found, complete(table)


def complete(parts: "pd.DataFrame") -> "pd.DataFrame":
    """`parts` with all columns that any claim has."""
    empty = {column: "" if column in _TEXT else np.nan for column in claim_parts.COLUMNS if column not in parts}
    return parts.assign(**empty)


def select(parts: "pd.DataFrame", part: str, **cells: Any) -> "pd.DataFrame":
    """The rows of a part whose cells are as given and whose estimate is a number."""
    chosen = (parts["part"] == part) & parts["estimate"].notna()
    for column, value in cells.items():
        chosen &= parts[column].isna() if value is None else parts[column] == value
    return parts[chosen]


def one(parts: "pd.DataFrame", part: str, **cells: Any) -> "pd.Series | None":
    """The first such row, or None."""
    rows = select(parts, part, **cells)
    return None if rows.empty else rows.iloc[0]


def needed(parts: "pd.DataFrame", part: str, claim: str) -> "pd.DataFrame":
    """The rows of a part without which there is nothing to draw.

    Raises:
        GeedError: there are none.
    """
    rows = select(parts, part)
    if rows.empty:
        raise GeedError(f"parts of {claim}: expected rows of the part '{part}' with an estimate, found none")
    return rows


def spans(rows: "pd.DataFrame | pd.Series") -> np.ndarray:
    """Estimate, lower and upper end of each row, (n, 3), as `style.points` takes them."""
    return np.asarray(rows[["estimate", "ci_low", "ci_high"]], dtype=float).reshape(-1, 3)


def values(column: Any) -> list:
    """The distinct entries of a column, in the order in which they appear."""
    return list(dict.fromkeys(column))


def comparisons(rows: "pd.DataFrame") -> list[tuple[str, str]]:
    """Names and groups of the comparisons in some rows, but for `all`, in order."""
    return [pair for pair in values(zip(rows["comparison"], rows["group"], strict=True)) if pair[0] != "all"]


def metric_id(row: "pd.Series") -> str:
    """The metric of a row as `name` or `name/distance`."""
    return f"{row['metric']}/{row['distance']}" if row["distance"] else row["metric"]


def metric_label(metric: str) -> str:
    """A metric in words, with distance and unit."""
    return _METRICS.get(metric, words(metric.replace("/", ", ")))


def falls_with_deviation(metric: str) -> bool:
    """Whether a larger value of the metric means more invariant."""
    return metric.partition("/")[0] in LARGER_IS_MORE_INVARIANT


def words(name: str) -> str:
    """A name of a config, to be read."""
    return name.replace("_", " ")


def group_label(spec: str) -> str:
    """A group in short: C4, D4, reflection, 3 cyclic shifts; others as the config has them.

    >>> group_label("rotations:4"), group_label("translations:x=3,y=2")
    ('C4', '3 × 2 cyclic shifts')
    """
    name, _, option = spec.partition(":")
    if name in ("rotations", "dihedral") and option.isdigit():
        return f"{'C' if name == 'rotations' else 'D'}{option}"
    if name == "translations" and option:
        return " × ".join(part.partition("=")[2] for part in option.split(",")) + " cyclic shifts"
    return "reflection" if spec == "reflections" else spec


def element(name: str) -> str:
    """The name of a group element, short enough to stand under a picture."""
    for long, short in (("reflection", "flip"), (" then rotation", ","), ("rotation ", ""), ("shift ", "")):
        name = name.replace(long, short)
    return name


def transform_label(group: str) -> str:
    """The transformation of a Lie derivative, to be read.

    >>> transform_label("lie:translation_x")
    'translation x'
    """
    return words(group.removeprefix("lie:"))


def comparison_label(comparison: str, group: str) -> str:
    """A comparison with its group."""
    name, label = words(comparison), group_label(group)
    return f"{name} ({label})" if label and label != name else name


def number(value: float) -> str:
    """A number in two or three figures, with a true minus."""
    text = f"{value:.3g}" if abs(value) >= 100 or 0 < abs(value) < 0.01 else f"{value:.2f}"
    return text.replace("-", "−")


def interval(row: "pd.Series | None") -> str:
    """An estimate with its interval, "n/a" where there is none.

    >>> import pandas
    >>> interval(pandas.Series({"estimate": 0.5, "ci_low": 0.25, "ci_high": 0.75}))
    '0.50 [0.25, 0.75]'
    """
    if row is None:
        return "n/a"
    if np.isnan(row["ci_low"]) or np.isnan(row["ci_high"]):
        return number(row["estimate"])
    return f"{number(row['estimate'])} [{number(row['ci_low'])}, {number(row['ci_high'])}]"


def sample(result: dict[str, Any], rows: "pd.DataFrame") -> str:
    """What the numbers rest on, for the caption: interval, seeds, images, study and verdict."""
    seeds, images = (_counts(rows[column]) for column in ("n_seeds", "n_images"))
    over = (
        f"over {seeds} training {'seed' if seeds == '1' else 'seeds'} and the images within them"
        if seeds
        else "over seeds and images"
    )
    size = f"; {images} test images" if images else ""
    found = f"{result['id']}: {result['verdict']} ({result.get('scale') or 'this'} study)"
    interval = f"{100 * result['confidence']:g} % interval" if "confidence" in result else "interval"
    return f"Mean and {interval} {over}{size}. {found}."


def _counts(column: Any) -> str:
    found = sorted({int(count) for count in column if not np.isnan(count)})
    return "" if not found else f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def exact(metric: str) -> float | None:
    """What an exactly invariant network scores, where the metric's definition alone says it."""
    return {"cosine": -1.0, "one_minus_cosine": 0.0, "l2": 0.0, "kl": 0.0}.get(metric.partition("/")[2])
