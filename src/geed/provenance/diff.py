"""What changed between two results of a study: verdicts, numbers in units of their standard errors, parts, figures, makers."""

import contextlib
import io
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from geed.errors import GeedError
from geed.files import read_json, sha256
from geed.provenance.checks import changes, few, short
from geed.provenance.records import load

if TYPE_CHECKING:
    import pandas as pd

_INTERVAL = ("estimate", "ci_low", "ci_high")
_APART = {"verdict", *_INTERVAL, "thresholds", "evidence", "parts"}  # shown by lines of their own
_VALUES = [*_INTERVAL, "p_holm", "accuracy", "n_seeds", "n_images"]


@dataclass
class Side:
    """One of two results.

    Attributes:
        name: as it was asked for.
        claims: ID -> content of claims/<ID>.json.
        parts: ID -> where its parts lie.
        figures: file name -> SHA-256.
        makers: what made it, in words, by kind.
    """

    name: str
    claims: dict[str, dict[str, Any]]
    parts: dict[str, Path]
    figures: dict[str, str]
    makers: dict[str, str] = field(default_factory=dict)


def diff(before: str, after: str) -> tuple[str, bool]:
    """What changed, as a page, and whether verdicts, numbers, thresholds, parts or figures did.

    Args:
        before: a results folder, a blessed reference, or `COMMIT:FOLDER`, a folder as git has it.
        after: the same.

    Raises:
        GeedError: nothing to compare, or a file is damaged.
    """
    with contextlib.ExitStack() as stack:
        one, other = (_side(name, stack) for name in (before, after))
        blocks = []
        same = []
        for claim in dict.fromkeys([*one.claims, *other.claims]):
            lines = list(_claim(claim, one, other))
            if lines:
                blocks.append(_block(claim, lines))
            else:
                same.append(claim)
        if lines := list(_figures(one, other)):
            blocks.append(_block("figures", lines))
    changed = bool(blocks)
    if same:
        blocks.append(f"the same: {', '.join(same)}")
    makers = [
        (kind, f"{one.makers.get(kind, 'unknown')} → {other.makers.get(kind, 'unknown')}")
        for kind in dict.fromkeys([*one.makers, *other.makers])
        if one.makers.get(kind) != other.makers.get(kind)
    ]
    if makers:
        blocks.append(_block("made by", makers))
    return "\n\n".join([f"{before} → {after}", *blocks]), changed


def standard_error(result: Mapping[str, Any], confidence: float = 0.95) -> float | None:
    """The standard error that an interval stands for, as if it were normal; None where there is no interval.

    >>> round(standard_error({"ci_low": -1.96, "ci_high": 1.96}), 4)
    1.0
    """
    low, high = (result.get(key) for key in ("ci_low", "ci_high"))
    if any(not isinstance(value, (int, float)) or math.isnan(value) for value in (low, high)):
        return None
    return (high - low) / (2 * NormalDist().inv_cdf((1 + confidence) / 2))


def _side(name: str, stack: contextlib.ExitStack) -> Side:
    folder = Path(name)
    if not folder.is_dir():
        commit, colon, inside = name.partition(":")
        if not colon:
            raise GeedError(f"{name}: expected a results folder, a reference, or COMMIT:FOLDER, found no such folder")
        folder = _from_git(
            commit, inside.rstrip("/"), Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="geed-diff-")))
        )
    claims = {}
    for path in sorted((folder / "claims").glob("*.json")):
        if path.name.endswith(".record.json"):
            continue
        claims[path.stem] = read_json(path)
        if not isinstance(claims[path.stem], dict):
            raise GeedError(f"{path}: expected a verdict, found JSON of another kind")
    if not claims:
        raise GeedError(f"{name}: expected verdicts in claims/, found none")
    parts = {claim: path for claim in claims if (path := folder / "claims" / f"{claim}.csv").is_file()}
    drawn = folder / "figures"
    if not drawn.is_dir():
        drawn = folder.resolve().parent.parent / "figures" / folder.resolve().name
    figures = {path.name: sha256(path) for path in sorted(drawn.glob("*.png"))}
    return Side(name, claims, parts, figures, _makers(folder))


def _from_git(commit: str, inside: str, target: Path) -> Path:
    """A folder as a commit has it, put into `target`."""
    command = ["git", "archive", "--format=tar", commit, "--", inside]
    if commit.startswith("-"):
        raise GeedError(f"{commit}:{inside}: expected a commit before the colon")
    try:
        done = subprocess.run(command, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise GeedError(f"{commit}:{inside}: git cannot be asked ({error})") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise GeedError(f"{commit}:{inside}: git has no such folder ({reason[-1] if reason else 'no reason given'})")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(target, filter="data")
    return target / inside


def _makers(folder: Path) -> dict[str, str]:
    """What made a folder's results, as far as its record or its jobs' records say."""
    if (folder / "record.json").is_file():
        contents = [read_json(folder / "record.json")]
        codes = contents
    else:
        try:
            contents = [record.content for record in load(folder).records]
        except GeedError:
            return {}
        codes = [content["code"] for content in contents]
    found: dict[str, set[str]] = {}
    for content, code in zip(contents, codes, strict=True):
        words = "no commit" if not code.get("commit") else str(code["commit"])[:7]
        found.setdefault("commit", set()).add(words + (" with uncommitted changes" if code.get("dirty") else ""))
        for key in ("device", "cpu", "system", "python"):
            if value := (content.get("machine") or {}).get(key):
                found.setdefault(key, set()).add(str(value))
        for package, version in (content.get("packages") or {}).items():
            found.setdefault(package, set()).add(str(version))
    return {kind: ", ".join(sorted(values)) for kind, values in found.items()}


def _claim(claim: str, one: Side, other: Side) -> Iterator[tuple[str, str]]:
    """What changed in a claim, as (what, words)."""
    if claim not in one.claims or claim not in other.claims:
        yield "only in", (one if claim in one.claims else other).name
        return
    a, b = one.claims[claim], other.claims[claim]
    if a.get("verdict") != b.get("verdict"):
        yield "verdict", f"{a.get('verdict')} → {b.get('verdict')}"
    if any(a.get(key) != b.get(key) for key in _INTERVAL):
        yield "estimate", f"{_interval(a)} → {_interval(b)}{_in_errors(a, b)}"
    for key in ("thresholds", "others"):
        left, right = ({key: value.get(key) for key in ("thresholds",)} for value in (a, b))
        if key == "others":
            left, right = ({name: value for name, value in side.items() if name not in _APART} for side in (a, b))
        if found := list(changes(left, right)):
            yield key, few([f"{place.removeprefix('thresholds.')} {short(x)} → {short(y)}" for place, x, y in found])
    if claim in one.parts and claim in other.parts:
        yield from _parts(one, other, claim)
    elif claim in one.parts or claim in other.parts:
        yield "parts", f"only in {(one if claim in one.parts else other).name}"


def _parts(one: Side, other: Side, claim: str) -> Iterator[tuple[str, str]]:
    if sha256(one.parts[claim]) == sha256(other.parts[claim]):
        return
    from geed.claims.parts import read

    a, b = read(one.parts[claim]), read(other.parts[claim])
    keys = [column for column in dict.fromkeys([*a.columns, *b.columns]) if column not in _VALUES]
    a, b = (_keyed(frame, keys) for frame in (a, b))
    both = a.merge(b, on=[*keys, "_again"], how="outer", suffixes=("_a", "_b"), indicator=True)
    for which, side in (("left_only", one), ("right_only", other)):
        if count := int((both["_merge"] == which).sum()):
            yield "parts", f"{count} rows only in {side.name}"
    shared = both[both["_merge"] == "both"].to_dict("records")
    changed = [(_apart(row, one.claims[claim], other.claims[claim]), row) for row in shared if _moved(row)]
    if not changed:
        return
    yield "parts", f"{len(changed)} of {len(shared)} rows changed"
    known = [(value, row) for value, row in changed if value is not None]
    if known:
        value, row = max(known, key=lambda entry: abs(entry[0]))
        yield "", f"most by {value:+.2g} standard errors, {_row(row, keys)}"
    else:
        row = changed[0][1]
        yield "", f"the first: {_row(row, keys)}: {short(row['estimate_a'])} → {short(row['estimate_b'])}"


def _keyed(frame: "pd.DataFrame", keys: list[str]) -> "pd.DataFrame":
    """A parts table with all key columns, and a number for rows that share their keys; empty cells become text, to be equal."""
    frame = frame.reindex(columns=dict.fromkeys([*keys, *_VALUES]))
    frame[keys] = frame[keys].astype(object).where(frame[keys].notna(), "")
    return frame.assign(_again=frame.groupby(keys).cumcount())


def _moved(row: Mapping[str, Any]) -> bool:
    pairs = [(row[f"{name}_a"], row[f"{name}_b"]) for name in _VALUES]
    return any(x != y and not (x != x and y != y) for x, y in pairs)


def _apart(row: Mapping[str, Any], a: Mapping[str, Any], b: Mapping[str, Any]) -> float | None:
    """How far a row moved, in combined standard errors."""
    sides = [
        {"estimate": row[f"estimate{end}"], "ci_low": row[f"ci_low{end}"], "ci_high": row[f"ci_high{end}"]}
        for end in ("_a", "_b")
    ]
    return _distance(*sides, _confidence(a), _confidence(b))


def _distance(a: Mapping[str, Any], b: Mapping[str, Any], level_a: float, level_b: float) -> float | None:
    errors = [standard_error(a, level_a), standard_error(b, level_b)]
    if None in errors or not (combined := math.hypot(*errors)):
        return None
    return (b["estimate"] - a["estimate"]) / combined


def _confidence(result: Mapping[str, Any]) -> float:
    value = result.get("confidence")
    return value if isinstance(value, (int, float)) and 0 < value < 1 else 0.95


def _in_errors(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    distance = _distance(a, b, _confidence(a), _confidence(b))
    return "" if distance is None else f", {distance:+.2g} standard errors"


def _figures(one: Side, other: Side) -> Iterator[tuple[str, str]]:
    changed = [name for name in one.figures if other.figures.get(name, one.figures[name]) != one.figures[name]]
    if changed:
        yield "other bytes", few(changed, 8)
    for side, reference in ((one, other), (other, one)):
        if names := [name for name in side.figures if name not in reference.figures]:
            yield "only in", f"{side.name}: {few(names, 8)}"


def _interval(result: Mapping[str, Any]) -> str:
    estimate, low, high = (short(result.get(key)) for key in _INTERVAL)
    return estimate if result.get("ci_low") is None else f"{estimate} [{low}, {high}]"


def _row(row: Mapping[str, Any], keys: list[str]) -> str:
    words = [row[key] for key in keys if row[key] != "" and key not in ("depth", "distance")]
    return ", ".join(short(word) for word in words)


def _block(name: str, lines: list[tuple[str, str]]) -> str:
    """A heading and its lines, in two columns."""
    width = max(len(what) for what, _ in lines)
    return "\n".join([name, *(f"  {what:{width}}  {words}" for what, words in lines)])
