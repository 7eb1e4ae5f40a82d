"""Numbers as papers print them, "98.6±5.4": what they say, and how far a measured one is from them."""

import math
import re
from typing import NamedTuple

from geed.errors import GeedError


class Printed(NamedTuple):
    """A printed number: its mean, standard deviation (0 where none is printed), and the unit of its last digit."""

    mean: float
    std: float
    unit: float


def parse(text: str) -> Printed:
    """What a printed cell says.

    >>> parse("98.6±5.4"), parse("0.02")
    (Printed(mean=98.6, std=5.4, unit=0.1), Printed(mean=0.02, std=0.0, unit=0.01))

    Raises:
        GeedError: it is not a number, or two with ± between.
    """
    match = re.fullmatch(r"(-?\d+(?:\.(\d+))?)(?:±(\d+(?:\.\d+)?))?", text.replace(" ", ""))
    if match is None:
        raise GeedError(f"expected a printed number such as 98.6±5.4, found '{text}'")
    return Printed(float(match[1]), float(match[3] or 0), float(f"1e-{len(match[2] or '')}"))


def z(mean: float, std: float, printed: Printed) -> float:
    """The difference, measured − printed, in units of the combined standard deviation.

    That of rounding, unit / √12, counts too: it is what is left where no standard deviation is printed and the measured one is 0.

    >>> round(z(0.004, 0.0, parse("0.0")), 2)
    0.14
    """
    return (mean - printed.mean) / math.sqrt(std**2 + printed.std**2 + printed.unit**2 / 12)
