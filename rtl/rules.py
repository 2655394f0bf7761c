"""Which operations a unit may be given in which order: one statement, next to its ports."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BEGUN", "IDLE", "NUMBER", "Rules"]

NUMBER = "monitor_number"
"""Verilog name of how many operations came before this one, since a reset or the last that ends."""
BEGUN = "monitor_begun"
"""Verilog name of whether any operation came since the reset."""
IDLE = "monitor_idle"
"""Verilog name of whether the cycle before had no operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a unit asks of operations beside its interval and the values of its ports.

    Each is a Verilog expression of an operation's inputs, `NUMBER`, `BEGUN` and `IDLE`; no port has
    these names. Proofs about the unit hold for all that the rules allow, and for nothing else.

    Parameters
    ----------
    allowed : str
        Whether the operation may come.
    ends : str
        Whether the count begins anew behind it.
    pauses : str
        Whether it needs the design's pause behind it: what `Design.pauses` says, as a circuit.
    """

    allowed: str = "1'b1"
    ends: str = "1'b0"
    pauses: str = "1'b0"
