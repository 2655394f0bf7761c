"""A clock's frequency in the words of each place-and-route program."""

from __future__ import annotations

from asq_hw.errors import InputError
from rtl.targets import registry

__all__ = ["DEFAULT_CLOCK_MHZ", "constraints"]

DEFAULT_CLOCK_MHZ = 100.0
_MOST_MHZ = 2000.0


def constraints(clock_mhz: float) -> dict[str, str]:
    """Text of each target's constraints file for ``clk``, by file name ending."""
    if not 0 < clock_mhz <= _MOST_MHZ:
        raise InputError(
            f"the clock must be above 0 and at most {_MOST_MHZ:g} MHz, not {clock_mhz}"
        )
    return {each.suffix: each.text(clock_mhz) for each in registry.constraints()}
