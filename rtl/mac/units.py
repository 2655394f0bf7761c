"""Which circuit makes the products of a multiply-accumulate unit."""

from __future__ import annotations

from rtl.mac.codes import Codes
from rtl.mac.magnitude_rows import DirectMagnitude, MagnitudeRows
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
from rtl.mac.staged import StagedShifter

__all__ = ["unit_class"]


def unit_class(mac: MacParameters) -> type[ProductUnit]:
    """The kind of unit that a MAC's scheme and style call for."""
    match mac.style:
        case Style.DIRECT if mac.codes is Codes.SIGN_MAGNITUDE:
            return DirectMagnitude
        case Style.DIRECT:
            return DirectMultiplier
        case Style.BOOTH:
            return BoothMultiplier
        case Style.ROWS if mac.codes is Codes.SIGN_MAGNITUDE:
            return MagnitudeRows
        case Style.ROWS:
            return RowMultiplier
        case Style.ARRAY:
            return ArrayMultiplier
        case Style.STAGED:
            return StagedShifter
        case Style.TABLE if mac.scheme.multiplies:
            return TableMultiplier
        case Style.TABLE:
            return MagnitudeTable
        case _:
            return ShiftUnit
