"""What the help texts of units say, their designs do."""

from __future__ import annotations

import re

import pytest

from asq_hw.errors import InputError
from rtl.mac.schemes import MacScheme
from rtl.units.option import REQUIRED, Given, Option
from rtl.units.registry import UNITS
from rtl.units.unit import LayerUse, Unit

REQUIRED_VALUES = {"scheme": str(MacScheme.POST_LUT), "weight_bits": 4, "lanes": 4}
GOES_WITH = {"step": {"arrangement": "constant"}}
"""Options that only one value of another one has a use for."""
RANGE = re.compile(r"(?<![\w-])(-?\d+) to (\d+)\b")
RANGED = [
    pytest.param(unit, option, id=f"{unit.name} {option.name}")
    for unit in UNITS
    if unit.layer is not LayerUse.ALWAYS
    for option in unit.options
    if RANGE.search(option.help)
]


def given(unit: Unit, option: Option, value: int) -> Given:
    """Everything as it is unless asked for, and one value."""
    defaults = {
        each.name: REQUIRED_VALUES.get(each.name, each.default)
        if each.default in (REQUIRED, None)
        else each.default
        for each in unit.options
    }
    return defaults | GOES_WITH.get(option.name, {}) | {option.name: value}


@pytest.mark.parametrize(("unit", "option"), RANGED)
def test_a_range_in_a_help_text_is_the_one_that_holds(unit: Unit, option: Option) -> None:
    (found,) = RANGE.finditer(option.help)
    low, high = map(int, found.groups())
    for value in (low - 1, high + 1):
        with pytest.raises(InputError, match=rf" {low}\.\.{high}, not {value}$"):
            unit.design(given(unit, option, value))


def test_most_units_state_ranges() -> None:
    assert len({param.id for param in RANGED}) >= 15
