"""Reading the tables of measurements that claims rest on."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as arrow
import pyarrow.parquet as parquet

from geed.errors import GeedError, nearest

_KEYS = ["evaluation", "data", "corruption", "severity", "group", "layer", "depth", "metric", "distance"]


class Evidence:
    """The measurements of a study, read when first asked for, each file once."""

    def __init__(
        self,
        folder: str | Path,
        seeds: Sequence[int] | Mapping[str, Sequence[int]],
        *,
        metrics: Collection[str] | None = None,
        evaluations: Collection[str] | None = None,
    ) -> None:
        """Point to the measurements.

        Args:
            folder: holds `<run>/seed-<k>/{table,per_image}.parquet`.
            seeds: training seeds, of all runs or of each.
            metrics: only rows of these metrics (`name` or `name/distance`) are read; None reads all. Saves memory.
            evaluations: only rows of these evaluations are read; None reads all.
        """
        self.folder, self._seeds = Path(folder), seeds
        self._filter = _filter(metrics, evaluations)
        self._arrays: dict[tuple[str, int], _PerImage] = {}
        self._tables: dict[str, pd.DataFrame] = {}
        self._read: set[Path] = set()

    @property
    def sources(self) -> list[Path]:
        """The files read so far, sorted."""
        return sorted(self._read)

    def seeds(self, run: str) -> tuple[int, ...]:
        """Training seeds of a run, the first axis of its arrays.

        Raises:
            GeedError: there is no such run.
        """
        if not isinstance(self._seeds, Mapping):
            return tuple(self._seeds)
        if run not in self._seeds:
            raise GeedError(f"{self.folder}: expected the name of a run, found '{run}'{nearest(run, self._seeds)}")
        return tuple(self._seeds[run])

    def array(
        self,
        run: str,
        metric: str,
        distance: str = "",
        *,
        group: str,
        layer: str = "",
        evaluation: str = "clean",
        corruption: str = "none",
        severity: int = 0,
    ) -> np.ndarray:
        """Per-image values of the trained networks of a run, (seeds, images) float64, images in the order of the prepared split.

        Raises:
            GeedError: a file or the row is not there, seeds saw different numbers of images, or a value is not finite.
        """
        key = (evaluation, corruption, int(severity), group, layer, metric, distance)
        rows = [self._per_image(run, seed).row(key, run) for seed in self.seeds(run)]
        if len({len(row) for row in rows}) > 1:
            counts = ", ".join(str(len(row)) for row in rows)
            raise GeedError(
                f"{self.folder / run}: expected the same images for every seed in {evaluation}, found {counts} of them"
            )
        values = np.stack(rows).astype(np.float64)
        if not np.isfinite(values).all():
            place = self._path(run, self.seeds(run)[0], "per_image")
            raise GeedError(f"{place}: expected finite values of {_words(key)}, found NaN or infinity")
        return values

    def has(self, run: str, metric: str, distance: str = "", *, group: str, evaluation: str = "clean") -> bool:
        """Whether every seed of the run has per-image values of a metric, at any layer."""
        return all(self._per_image(run, seed).layers(metric, distance, group, evaluation) for seed in self.seeds(run))

    def layers(
        self, run: str, metric: str, distance: str = "", *, group: str, evaluation: str = "clean"
    ) -> list[tuple[str, float]]:
        """Layers of a run at which a metric was measured, with relative depth, shallow first and else in the order measured.

        Raises:
            GeedError: there are none.
        """
        first = self._per_image(run, self.seeds(run)[0])
        found = first.layers(metric, distance, group, evaluation)
        if not found:
            first.fail(run, (evaluation, "none", 0, group, "*", metric, distance))
        return sorted(found, key=lambda layer: layer[1])

    def conditions(self, run: str, evaluation: str) -> list[tuple[str, int]]:
        """The corruptions and severities of an evaluation, in the order measured."""
        return self._per_image(run, self.seeds(run)[0]).conditions(evaluation)

    def images(self, run: str, evaluation: str) -> str:
        """The name of the data set that an evaluation of a run was measured on."""
        return self._per_image(run, self.seeds(run)[0]).data(run, evaluation)

    def values(self, run: str) -> pd.DataFrame:
        """Aggregated values of a run, all seeds and all epochs: the tidy rows of its `table.parquet` files."""
        if run not in self._tables:
            frames = []
            for seed in self.seeds(run):
                path = self._path(run, seed, "table")
                frames.append(_read(path, None, self._filter).to_pandas())
                self._read.add(path)
            self._tables[run] = pd.concat(frames, ignore_index=True)
        return self._tables[run]

    def _path(self, run: str, seed: int, table: str) -> Path:
        return self.folder / run / f"seed-{seed}" / f"{table}.parquet"

    def _per_image(self, run: str, seed: int) -> "_PerImage":
        if (run, seed) not in self._arrays:
            path = self._path(run, seed, "per_image")
            if not path.exists() and not self.folder.joinpath(run).is_dir():
                known = [entry.name for entry in self.folder.glob("*") if entry.is_dir()] if self.folder.is_dir() else []
                raise GeedError(f"{path}: expected the measurements of run {run}, found no such file{nearest(run, known)}")
            self._arrays[run, seed] = _PerImage(path, self._filter)
            self._read.add(path)
        return self._arrays[run, seed]


class _PerImage:
    """One per_image.parquet file: its rows by key, as float32 views of one buffer."""

    def __init__(self, path: Path, condition: Any) -> None:
        self.path = path
        table = _read(path, [*_KEYS, "values"], condition)
        try:
            keys = {name: table.column(name).to_pylist() for name in _KEYS}
            values = table.column("values").combine_chunks()
            buffer, bounds = values.values.to_numpy(zero_copy_only=False), values.offsets.to_numpy()
        except (ValueError, AttributeError) as error:
            raise GeedError(f"{path}: expected a table of measurements, found damaged columns ({error})") from error
        self._rows: dict[tuple, np.ndarray] = {}
        self._layers: dict[tuple, dict[str, float]] = {}
        self._conditions: dict[str, dict[tuple[str, int], None]] = {}
        self._data: dict[str, str] = {}
        for index, (evaluation, data, *place, depth, metric, distance) in enumerate(zip(*keys.values(), strict=True)):
            corruption, severity, group, layer = place
            self._rows[evaluation, *place, metric, distance] = buffer[bounds[index] : bounds[index + 1]]
            self._layers.setdefault((metric, distance, group, evaluation), {})[layer] = depth
            self._conditions.setdefault(evaluation, {})[corruption, severity] = None
            self._data[evaluation] = data

    def row(self, key: tuple, run: str) -> np.ndarray:
        if key not in self._rows:
            self.fail(run, key)
        return self._rows[key]

    def layers(self, metric: str, distance: str, group: str, evaluation: str) -> list[tuple[str, float]]:
        return list(self._layers.get((metric, distance, group, evaluation), {}).items())

    def conditions(self, evaluation: str) -> list[tuple[str, int]]:
        return list(self._conditions.get(evaluation, {}))

    def data(self, run: str, evaluation: str) -> str:
        if evaluation not in self._data:
            hint = nearest(evaluation, self._data)
            raise GeedError(f"{self.path}: expected run {run} to be measured in evaluation {evaluation}, found none{hint}")
        return self._data[evaluation]

    def fail(self, run: str, key: tuple) -> None:
        """Say which part of the key leads nowhere."""
        self.data(run, key[0])
        known = sorted({"/".join(filter(None, row[5:])) for row in self._rows if row[0] == key[0] and row[3] == key[3]})
        metric = "/".join(filter(None, key[5:]))
        if metric in known:
            hint = " at that layer, corruption and severity"
        else:
            hint = nearest(metric, known) if known else f"; no metric was measured under {key[3]}"
        raise GeedError(f"{self.path}: expected per-image values of {_words(key)} for run {run}, found none{hint}")


def _read(path: Path, columns: list[str] | None, condition: Any) -> Any:
    try:
        return parquet.read_table(path, columns=columns, filters=condition)
    except FileNotFoundError as error:
        raise GeedError(f"{path}: expected a table of measurements, found no such file") from error
    except (OSError, ValueError, KeyError) as error:
        raise GeedError(
            f"{path}: expected a table of measurements, found something unreadable ({str(error).splitlines()[0]})"
        ) from error


def _filter(metrics: Collection[str] | None, evaluations: Collection[str] | None) -> Any:
    condition = None
    if metrics is not None:
        condition = arrow.field("metric").isin(sorted({metric.partition("/")[0] for metric in metrics}))
    if evaluations is not None:
        chosen = arrow.field("evaluation").isin(sorted(evaluations))
        condition = chosen if condition is None else condition & chosen
    return condition


def _words(key: tuple) -> str:
    evaluation, corruption, severity, group, layer, metric, distance = key
    place = f" at layer {layer}" if layer and layer != "*" else ""
    state = f", {corruption} {severity}" if corruption != "none" else ""
    return f"{metric}{'/' if distance else ''}{distance}{place} under {group} in {evaluation}{state}"
