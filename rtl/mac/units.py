"""Which circuit makes the products of a multiply-accumulate unit."""

from __future__ import annotations

from rtl.mac.multiplier import (
    ArrayMultiplier,
    BoothMultiplier,
    DirectMultiplier,
    RowMultiplier,
    TableMultiplier,
)
from rtl.mac.parameters import MacParameters
from rtl.mac.product import ProductUnit
from rtl.mac.schemes import Style
from rtl.mac.shifter import MagnitudeTable, ShiftUnit

__all__ = ["unit_class"]


def unit_class(mac: MacParameters) -> type[ProductUnit]:
    """The kind of unit that a MAC's scheme and style call for."""
    match mac.style:
        case Style.DIRECT:
            return DirectMultiplier
        case Style.BOOTH:
            return BoothMultiplier
        case Style.ROWS:
            return RowMultiplier
        case Style.ARRAY:
            return ArrayMultiplier
        case Style.TABLE if mac.scheme.multiplies:
            return TableMultiplier
        case Style.TABLE:
            return MagnitudeTable
        case _:
            return ShiftUnit
