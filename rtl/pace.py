"""How often a unit takes an operation, and what has to stay idle: one statement for all readers."""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.errors import check_range

__all__ = ["Pause", "pace_lines"]

_MAX_IDLE_CYC = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Cycles without ``valid_in`` that have to follow some of a unit's operations.

    Parameters
    ----------
    after : str
        Which operations, for people: "a step (load 1)".
    idle_cyc : int
        How many cycles, 1 to 2**20.
    """

    after: str
    idle_cyc: int

    def __post_init__(self) -> None:
        check_range("idle cycles", self.idle_cyc, 1, _MAX_IDLE_CYC)


def pace_lines(interval_cyc: int, pause: Pause | None) -> list[str]:
    """Sentences for a header comment: how often, and what has to stay idle."""
    often = (
        "It takes an operation in every cycle (interval_cyc = 1)"
        if interval_cyc == 1
        else f"It takes one operation each {interval_cyc} cycles (interval_cyc = {interval_cyc}): "
        f"valid_in must be low for {interval_cyc - 1} behind each"
    )
    if pause is None:
        return [f"{often}."]
    return [
        f"{often}, but behind {pause.after},",
        f"where valid_in must be low for {_cycles(pause.idle_cyc)} (idle_cyc = {pause.idle_cyc}).",
    ]


def _cycles(count: int) -> str:
    return f"{count} cycle" + ("s" if count != 1 else "")
