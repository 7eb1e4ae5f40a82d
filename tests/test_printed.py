"""Numbers as papers print them."""

import math

import pytest

from geed.errors import GeedError
from geed.printed import parse, z


def test_a_cell_has_mean_deviation_and_unit():
    assert parse("98.6±5.4") == (98.6, 5.4, 0.1)
    assert parse("0.00") == (0, 0, 0.01)
    assert parse("12") == (12, 0, 1)
    with pytest.raises(GeedError, match=r"expected a printed number such as 98\.6±5\.4, found 'about 3'"):
        parse("about 3")


def test_z_combines_both_deviations_and_rounding():
    assert z(100, 3, parse("90±4")) == pytest.approx(10 / math.sqrt(25 + 1 / 12))
    assert z(0.001, 0, parse("0.00")) == pytest.approx(0.1 * math.sqrt(12))  # nothing but rounding is left
