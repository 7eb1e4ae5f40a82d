"""What an audit found: checks, each with its faults, as a table for people and as plain data for machines."""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

MISMATCH, MISSING, SOURCES, SETTINGS = "mismatch", "missing", "other sources", "other settings"
_SHOWN = 12  # faults of one check that the screen shows


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        file: which file.
        words: what is wrong with it.
        kind: `MISMATCH`, `MISSING` (the chain cannot be followed), `SOURCES` or `SETTINGS` (made by other code, or by another
            config, than those here).
        job: the job that made it, with its record.
        recorded: what it should be: a SHA-256, or a value.
        found: what it is.
    """

    file: str
    words: str
    kind: str = MISMATCH
    job: str | None = None
    recorded: str | None = None
    found: str | None = None

    def text(self) -> str:
        """A block for the screen."""
        lines = [f"{self.file}", f"  {self.kind}: {self.words}"]
        lines += [f"  {name:8}  {value}" for name in ("job", "recorded", "found") if (value := getattr(self, name)) is not None]
        return "\n".join(lines)


@dataclass
class Check:
    """One kind of comparison, made many times.

    Attributes:
        name: what was compared, in a few words.
        checked: how many times.
        faults: where it failed.
        remark: what else is to be known, for the table.
        notes: sentences for below the table; none of them is a fault.
    """

    name: str
    checked: int = 0
    faults: list[Fault] = field(default_factory=list)
    remark: str = ""
    notes: list[str] = field(default_factory=list)

    def fail(self, file: object, words: str, **details: Any) -> None:
        """Note a fault."""
        self.faults.append(Fault(str(file), words, **details))


def table(checks: list[Check]) -> str:
    """One line a check."""
    rows = [("check", "checked", "wrong", "")]
    rows += [(c.name, f"{c.checked:,}" if c.checked else "–", f"{len(c.faults):,}", c.remark) for c in checks]
    name, checked, wrong = (max(len(row[column]) for row in rows) for column in range(3))
    return "\n".join(f"{a:{name}}  {b:>{checked}}  {c:>{wrong}}  {d}".rstrip() for a, b, c, d in rows)


def faults(checks: list[Check]) -> str:
    """Every fault as a block; of one check not more than a screen shows."""
    blocks = []
    for check in checks:
        blocks += [fault.text() for fault in check.faults[:_SHOWN]]
        if more := len(check.faults) - _SHOWN:
            blocks += [f"… and {more:,} more of the same check ({check.name}); `--out FILE` writes all"] if more > 0 else []
    return "\n\n".join(blocks)


def verdict(checks: list[Check]) -> str:
    """The last line: how many faults of which kind."""
    found = [fault.kind for check in checks for fault in check.faults]
    if not found:
        return "everything that was checked agrees"
    return ", ".join(
        f"{found.count(kind):,} {words if found.count(kind) != 1 else words.removesuffix('es')}"
        for kind, words in (
            (MISMATCH, "mismatches"),
            (MISSING, "missing"),
            (SOURCES, "built from other sources"),
            (SETTINGS, "built with other settings"),
        )
        if kind in found
    )


def few(names: Sequence[str], shown: int = 4) -> str:
    """Some names, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")


def changes(
    before: Any, after: Any, same: Callable[[Any, Any], bool] = operator.eq, place: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as (place, before, after).

    >>> list(changes({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}))
    [('a.b[1]', 2, 3)]
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from changes(before.get(key), after.get(key), same, f"{place}.{key}" if place else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from changes(*pair, same, f"{place}[{index}]")
    elif not same(before, after):
        yield place, before, after


def short(value: Any) -> str:
    """A JSON value in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
