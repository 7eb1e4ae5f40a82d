"""Numbers and times as a page shows them."""

import math
from typing import Any

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def number(value: Any, digits: int = 3) -> str:
    """A number in a few figures; what is none, or not finite, says so.

    >>> number(0.19875), number(12345), number(-2.05e-15), number(None), number(3.0), number("1e-4")
    ('0.199', '12,345', '−2.05e−15', '–', '3', '1e-4')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6):
        return f"{int(value):,}".replace("-", MINUS)
    return f"{value:.{digits}g}".replace("-", MINUS)


def estimate(result: dict[str, Any]) -> str:
    """An estimate with its interval.

    >>> estimate({"estimate": 0.25, "ci_low": -0.125, "ci_high": 0.5}), estimate({"estimate": 0.25, "ci_low": None})
    ('0.25 [−0.125, 0.5]', '0.25')
    """
    if result.get("ci_low") is None or result.get("ci_high") is None:
        return number(result.get("estimate"))
    return f"{number(result['estimate'])} [{number(result['ci_low'])}, {number(result['ci_high'])}]"


def duration(seconds: float | None) -> str:
    """Seconds, to be read.

    >>> duration(0.04), duration(42.31), duration(312), duration(7505)
    ('0.0 s', '42 s', '5 min 12 s', '2 h 5 min')
    """
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{round(seconds / 60) // 60} h {round(seconds / 60) % 60} min"


def matrix(value: Any) -> list[str]:
    """The columns of a mapping of mappings of plain values, which is read best as a table; none where it is something else.

    >>> matrix({"tied": {"accuracy": 0.95}, "augmented": {"accuracy": 0.94, "LI": 98.6}}), matrix({"tied": 1.0})
    (['accuracy', 'LI'], [])
    """
    rows = list(value.values()) if isinstance(value, dict) else []
    if not all(
        isinstance(row, dict) and row and not any(isinstance(entry, dict | list) for entry in row.values()) for row in rows
    ):
        return []
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(text: str) -> str:
    """A cell of a CSV table: numbers in four figures, text as it is.

    >>> cell("0.0437790197"), cell("blocks.0"), cell("485.0"), cell("")
    ('0.04378', 'blocks.0', '485', '')
    """
    try:
        return number(float(text), 4) if text else ""
    except ValueError:
        return text
