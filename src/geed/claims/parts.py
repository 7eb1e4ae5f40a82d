"""The parts of a claim: the tidy table that its figure draws (columns: docs/claims.md)."""

from pathlib import Path
from typing import Any

import pandas as pd

from geed.errors import GeedError, nearest
from geed.files import read_table
from geed.metrics.registry import check
from geed.stats.bootstrap import Interval

_TEXT = ["part", "comparison", "group", "role", "arm", "layer", "metric", "distance", "domain", "corruption"]
COLUMNS = [
    "part",
    "comparison",
    "group",
    "role",
    "arm",
    "layer",
    "depth",
    "metric",
    "distance",
    "domain",
    "corruption",
    "severity",
    "construction",
    "epsilon",
    "epoch",
    "seed",
    "accuracy",
    "estimate",
    "ci_low",
    "ci_high",
    "std",
    "published",
    "published_std",
    "z",
    "p_holm",
    "n_seeds",
    "n_images",
]


class Parts:
    """Rows of a parts table."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def add(self, part: str, value: Interval | float, **cells: Any) -> None:
        """Add a row; `value` fills estimate and interval, a `metric` such as "latent_eed/l2" fills metric and distance."""
        if isinstance(value, Interval):
            cells |= {"estimate": value.estimate, "ci_low": value.low, "ci_high": value.high}
        else:
            cells |= {"estimate": value}
        if "metric" in cells:
            cells["metric"], cells["distance"] = check(cells["metric"])
        if unknown := set(cells) - set(COLUMNS):
            raise GeedError(f"parts: unknown column {min(unknown)}{nearest(min(unknown), COLUMNS)}")
        self._rows.append({"part": part, **cells})

    def frame(self) -> pd.DataFrame:
        """All rows, with the columns that any of them uses."""
        used = set().union(*self._rows) if self._rows else set()
        return _typed(pd.DataFrame(self._rows, columns=[column for column in COLUMNS if column in used]))


def read(path: str | Path) -> pd.DataFrame:
    """Read a claim's parts, numbers as floats (NaN where a cell is empty) and words as text ("" where empty)."""
    return _typed(read_table(path))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    for column in frame.columns:
        frame[column] = (
            frame[column].fillna("").astype(str)
            if column in _TEXT
            else pd.to_numeric(frame[column], errors="coerce").astype(float)
        )
    return frame
