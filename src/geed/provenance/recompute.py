"""Verdicts, measurements and networks made again from what they were made from, and compared with what is stored."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed.errors import GeedError
from geed.files import read_json, read_table, sha256
from geed.progress import bar
from geed.provenance.chain import job, result_of
from geed.provenance.checks import Check, changes
from geed.provenance.job import cpu, versions
from geed.provenance.records import Record, Study
from geed.provenance.replay import replay

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Where a job ran on a machine like this one, with the same packages, its numbers come out exactly. Elsewhere two numbers agree
# if they differ by less than RELATIVE of the larger one, or by less than ABSOLUTE: another processor rounds sums of float32
# products otherwise, and what is zero up to rounding has no relative precision.
RELATIVE, ABSOLUTE = 1e-4, 1e-6
_NUMBERS = ["value", "se", "n_images", "n_elements"]
_ROWS = 3  # of those that differ, how many become faults of their own


def verdicts(study: Study, scope: Sequence[Record], wrong: set[str]) -> Check:
    """Every claim, decided again from its tables by the recorded rule."""
    check = Check("verdicts: decided again from their tables")
    claims = [record for record in scope if record.rule == "claim"]
    same = 0
    for record, folder in _replayed(check, study, claims, wrong, "decide"):
        check.checked += 1
        path = result_of(record)
        if path is None or not study.place(path).is_file():
            continue
        if all(_same_bytes(study.place(name), folder / name) for name in record.outputs):
            same += 1
            continue
        try:
            exact = not _surroundings(record)
            differing = _differing(read_json(study.place(path)), read_json(folder / path), exact)
            differing += _differing_parts(study, record, folder, exact)
        except GeedError as error:
            check.fail(path, str(error), job=job(record, study))
            continue
        for where, stored, made in differing[:_ROWS]:
            words = f"{where} is not what the claim's tables give by its rule"
            check.fail(path, words, job=job(record, study), recorded=f"{made} from the tables", found=f"{stored} in the file")
    if check.checked:
        check.remark = "all to the byte" if same == check.checked else f"{same} to the byte"
    return check


def measurements(study: Study, scope: Sequence[Record], wrong: set[str], count: int, seed: int) -> Check:
    """A sample of measurements, each one evaluation of one network under one group, from stored weights and data."""
    check = Check("measurements: a sample made again")
    draw = random.Random(f"measurements {seed}")
    jobs = [record for record in scope if record.rule == "measure"]
    drawn = draw.sample(jobs, min(count, len(jobs)))
    params = {}
    for record in drawn:
        try:
            params[record.path] = _one(record.content["params"], draw)
        except (LookupError, TypeError, AttributeError):
            check.fail(study.recorded(record.path), "its parameters are not those of a measurement", job=record.job)
    drawn = [record for record in drawn if record.path in params]
    rows, largest = 0, 0.0
    for record, folder in _replayed(check, study, drawn, wrong, "measure", params):
        check.checked += 1
        for path in record.outputs:
            if path in wrong or not path.endswith(".parquet"):  # said already, and perhaps not even a table
                continue
            try:
                compared, worst = _compare(check, study, record, path, folder)
            except GeedError as error:
                check.fail(path, str(error), job=job(record, study))
                continue
            rows, largest = rows + compared, max(largest, worst)
    if jobs and count:
        differ = f"at most {largest:.1g} apart, of {RELATIVE:g} allowed on another machine" if largest else "all equal"
        check.remark = f"{rows:,} numbers, {differ}" if rows else "none could be compared"
    else:
        check.remark = "not asked for" if jobs else "none recorded"
    return check


def network(study: Study, scope: Sequence[Record], wrong: set[str], seed: int) -> Check:
    """One network trained again from its raw data on, and all bytes on the way compared."""
    check = Check("networks: one trained again, from raw data")
    trained = [record for record in scope if record.content["measured"].get("epochs")]
    if not trained:
        check.remark = "none recorded"
        return check
    chosen = random.Random(f"network {seed}").choice(trained)
    chain = [record for record in _in_order(study, chosen) if record.sources]
    bad = [record for record in chain if any(path in wrong for path in record.inputs)]
    elsewhere = _surroundings(chosen)
    seconds = sum(record.content["cost"].get("wall_seconds") or 0 for record in chain)
    check.remark = f"{chosen.job}, which took {seconds:.0f} s in {len(chain)} jobs"
    if bad:
        check.notes.append(f"{chosen.job} is not trained again, because its inputs are not as recorded")
        return check
    for record, folder in _replayed(check, study, chain, wrong, f"{chosen.job}, {seconds:.0f} s"):
        for path, digest in record.outputs.items():
            check.checked += 1
            found = sha256(folder / path)
            if found != digest and elsewhere:
                check.notes.append(f"{path}: other bytes than recorded, as may be, because here is {elsewhere}")
            elif found != digest:
                check.fail(path, "made again, it has other bytes", job=job(record, study), recorded=digest, found=found)
    return check


def _replayed(
    check: Check,
    study: Study,
    records: Sequence[Record],
    wrong: set[str],
    words: str,
    params: dict[Path, dict[str, Any]] | None = None,
) -> Iterator[tuple[Record, Path]]:
    """Each job run again, with the folder of its outputs; those whose inputs are not as recorded are left out, and noted."""
    left: list[str] = []
    if not records:
        return
    with bar(len(records), words, unit="jobs") as progress:
        for record in records:
            if any(path in wrong or not study.place(path).is_file() for path in record.inputs):
                left.append(record.job)
            else:
                with tempfile.TemporaryDirectory(prefix="geed-audit-") as folder:
                    try:
                        replay(record, study, Path(folder), (params or {}).get(record.path))
                    except GeedError as error:
                        check.fail(next(iter(record.outputs)), f"cannot be made again: {error}", job=job(record, study))
                    else:
                        yield record, Path(folder)
            progress.update(1)
    if left:
        check.notes.append(f"not made again, because their inputs are not as recorded: {', '.join(left)}")


def _one(params: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Parameters of a measuring job for one evaluation under one group, of one corruption at one severity."""
    name = draw.choice(sorted(params["evaluations"]))
    evaluation = params["evaluations"][name]
    corruptions = params["corruptions"]
    if evaluation.get("groups"):
        evaluation = evaluation | {"groups": [draw.choice(evaluation["groups"])]}
    if evaluation.get("corrupted"):
        names = corruptions["names"] if evaluation["corrupted"] is True else evaluation["corrupted"]
        corruptions = {"names": [draw.choice(names)], "severities": [draw.choice(corruptions["severities"])]}
        evaluation = evaluation | {"corrupted": True}
    return params | {"evaluations": {name: evaluation}, "corruptions": corruptions}


def _compare(check: Check, study: Study, record: Record, path: str, folder: Path) -> tuple[int, float]:
    """Compare the rows of a table that were made again; the numbers compared, and the largest relative difference."""
    import numpy as np

    stored, made = read_table(study.place(path)), read_table(folder / path)
    numbers = [name for name in (*_NUMBERS, "values") if name in made]
    keys = [name for name in made.columns if name not in numbers]
    if list(stored.columns) != list(made.columns):
        raise GeedError(f"expected the columns {', '.join(made.columns)}, found {', '.join(map(str, stored.columns))}")
    wanted = _same_rows(stored, made, [key for key in ("evaluation", "corruption", "severity", "group") if key in keys])
    both = wanted.merge(made, on=keys, how="outer", suffixes=("_stored", "_made"), indicator=True)
    if len(odd := both[both["_merge"] != "both"]):
        row = odd.iloc[0]
        where = "the file alone" if row["_merge"] == "left_only" else "the measurement alone"
        raise GeedError(f"{len(odd)} rows stand in one of the two only, the first in {where}: {_row(row, keys)}")
    compared, largest, bad, exact = 0, 0.0, [], not _surroundings(record)
    for row in both.to_dict("records"):
        for name in numbers:
            a, b = (np.atleast_1d(np.asarray(row[f"{name}_{which}"], dtype=np.float64)) for which in ("stored", "made"))
            if a.shape != b.shape:
                bad.append((np.inf, row, name, f"{len(b)} values", f"{len(a)} values"))
                continue
            compared += a.size
            differences = _differences(a, b, exact)
            place = int(differences.argmax()) if a.size else 0
            if a.size and differences[place] > 0:
                largest = max(largest, float(_relative(a, b).max()))
            if a.size and differences[place] > 1:
                index = f"[{place}]" if name == "values" else ""
                bad.append((differences[place], row, f"{name}{index}", repr(float(b[place])), repr(float(a[place]))))
    bad.sort(key=lambda entry: -entry[0])
    for _, row, name, made_value, stored_value in bad[:_ROWS]:
        check.fail(
            path,
            f"{name} of {_row(row, keys)}" + (f", the worst of {len(bad)} rows" if len(bad) > 1 else ""),
            job=job(record, study),
            recorded=f"{made_value} from the stored weights and data",
            found=f"{stored_value} in the file",
        )
    return compared, largest


def _same_rows(stored: "pd.DataFrame", made: "pd.DataFrame", keys: list[str]) -> "pd.DataFrame":
    return stored.merge(made[keys].drop_duplicates(), on=keys)


def _differences(a: "np.ndarray", b: "np.ndarray", exact: bool) -> "np.ndarray":
    """|a − b| in units of the tolerance, infinite where they must be equal; NaN agrees with NaN alone."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        units = np.abs(a - b) / (0.0 if exact else np.maximum(RELATIVE * np.maximum(np.abs(a), np.abs(b)), ABSOLUTE))
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.where(np.isnan(units), np.inf, units))


def _relative(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    import numpy as np

    scale = np.maximum(np.abs(a), np.abs(b))
    return np.nan_to_num(np.abs(a - b) / np.where(scale > 0, scale, 1.0), nan=0.0)


def _row(row: Any, keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {row[key]}" for key in keys if row[key] != "" and key != "depth")


def _differing(stored: Any, made: Any, exact: bool) -> list[tuple[str, Any, Any]]:
    """Where two JSON values differ, by more than the tolerance where they need not be equal; the verdict first."""
    found = changes(stored, made, lambda a, b: a == b or _close(a, b, exact))
    # Hashes of the parts follow from the parts, which are compared themselves.
    return sorted((entry for entry in found if not entry[0].endswith("sha256")), key=lambda entry: entry[0] != "verdict")


def _differing_parts(study: Study, record: Record, folder: Path, exact: bool) -> Iterator[tuple[str, Any, Any]]:
    for path in record.outputs:
        if path.endswith(".csv"):
            stored, made = read_table(study.place(path)), read_table(folder / path)
            if list(stored.columns) != list(made.columns) or len(stored) != len(made):
                yield path, f"{len(stored)} rows of {len(stored.columns)}", f"{len(made)} rows of {len(made.columns)}"
                continue
            for number, (a, b) in enumerate(zip(stored.to_dict("records"), made.to_dict("records"), strict=True)):
                yield from ((f"{path}, row {number + 1}, {place}", *pair) for place, *pair in _differing(a, b, exact))


def _close(a: Any, b: Any, exact: bool) -> bool:
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (a, b)):
        return False
    return (a != a and b != b) or (not exact and abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), ABSOLUTE))


def _same_bytes(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and sha256(one) == sha256(other)


def _in_order(study: Study, record: Record, seen: set[Path] | None = None) -> list[Record]:
    """A record and what it rests on, producers first."""
    seen = set() if seen is None else seen
    if record.path in seen:
        return []
    seen.add(record.path)
    before = [study.producer[path] for path in record.inputs if path in study.producer]
    return [*(other for entry in before for other in _in_order(study, entry, seen)), record]


def _surroundings(record: Record) -> str:
    """What is other here than where a job ran, in words, as far as it may change the last digits; empty for the same."""
    import platform

    import torch

    here = versions()
    changed = [f"{name} {here.get(name)}" for name, version in record.content["packages"].items() if here.get(name) != version]
    machine = record.content["machine"]
    device = "cuda" if torch.cuda.is_available() and record.content["params"].get("device") != "cpu" else "cpu"
    if machine.get("device") not in (None, device):
        changed.append(f"the device {device}")
    changed += [value for key, value in (("system", platform.platform()), ("cpu", cpu())) if machine.get(key) != value]
    return ", ".join(changed)
