"""Which choices of a multiply-accumulate unit go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asq_hw.errors import InputError, check_range
from asq_hw.numbers.encoding import Encoding
from rtl.mac.codes import Codes
from rtl.mac.schemes import Clear, Style

if TYPE_CHECKING:
    from rtl.mac.parameters import MacParameters

__all__ = ["MAX_PIPELINE", "check_combination"]

MAX_PIPELINE = 2

_MAX_TABLE_BITS = 10
"""Widest address of a table of products."""


def check_combination(mac: MacParameters) -> None:
    """Raise InputError if there is no unit with a MAC's choices."""
    assert mac.style is not None
    if mac.style not in mac.scheme.styles:
        known = ", ".join(mac.scheme.styles)
        raise InputError(f"style of {mac.scheme} must be one of {known}, not {mac.style}")
    address = mac.activation_bits + mac.weight_grid.stored_bits
    if mac.style is Style.TABLE and mac.scheme.multiplies:
        check_range("address bits of a table of products", address, 1, _MAX_TABLE_BITS)
    if mac.accumulation not in mac.scheme.accumulations:
        known = ", ".join(mac.scheme.accumulations)
        raise InputError(
            f"accumulation of {mac.scheme} must be one of {known}, not {mac.accumulation}"
        )
    _check_codes(mac)
    _check_pace(mac)


def _check_codes(mac: MacParameters) -> None:
    """How weights stand at the port, and what the sums are made of."""
    if mac.codes not in mac.style_codes:
        known = ", ".join(mac.style_codes)
        raise InputError(f"codes of style {mac.style} must be one of {known}, not {mac.codes}")
    if mac.codes is Codes.EXPONENT and mac.encoding is not Encoding.PACKED:
        raise InputError(f"codes exponent are for packed grids, not for {mac.encoding}")
    if mac.cells and not mac.has_use_for_cells:
        raise InputError(f"sums of {mac.stem} have no use for {mac.cells.title}")


def _check_pace(mac: MacParameters) -> None:
    """What registers and clearing there can be."""
    if mac.pipeline == MAX_PIPELINE and _has_one_step(mac):
        raise InputError(f"pipeline of style {mac.style} must be 0..1, not {mac.pipeline}")
    if mac.is_cleared_first and (mac.pipeline == 0 or mac.segments > 1):
        sums = "clear idle" if mac.clear is Clear.IDLE else "accumulation shared, clear ahead,"
        raise InputError(
            f"{sums} needs pipeline 1 or 2 and segments 1, not {mac.pipeline} and {mac.segments}"
        )
    if mac.style is Style.SERIAL and mac.clear is Clear.IDLE:
        raise InputError("clear of style serial must be masked or ahead, not idle")
    if mac.style is Style.SERIAL and (mac.pipeline, mac.segments) != (1, 1):
        raise InputError(
            "pipeline and segments of style serial must be 1 and 1, "
            f"not {mac.pipeline} and {mac.segments}"
        )


def _has_one_step(mac: MacParameters) -> bool:
    """Whether the product unit has no place for a register inside."""
    is_table_of_all = mac.style is Style.TABLE and mac.scheme.multiplies
    return is_table_of_all or mac.style in (Style.DIRECT, Style.STAGED)
