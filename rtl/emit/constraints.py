"""A clock's frequency in the words of each place-and-route program."""

from __future__ import annotations

from asq_hw.errors import InputError

__all__ = ["DEFAULT_CLOCK_MHZ", "constraints"]

DEFAULT_CLOCK_MHZ = 100.0
_MOST_MHZ = 2000.0


def constraints(clock_mhz: float) -> dict[str, str]:
    """Text of a constraints file for ``clk`` by file name ending: lpf, pcf and xdc.

    Pins are the board's and stand in none of them.
    """
    if not 0 < clock_mhz <= _MOST_MHZ:
        raise InputError(
            f"the clock must be above 0 and at most {_MOST_MHZ:g} MHz, not {clock_mhz}"
        )
    megahertz = f"{clock_mhz:g}"
    return {
        "lpf": f'FREQUENCY PORT "clk" {megahertz} MHZ;\n',
        "pcf": f"set_frequency clk {megahertz}\n",
        "xdc": f"create_clock -name clk -period {1000 / clock_mhz:.3f} [get_ports clk]\n",
    }
