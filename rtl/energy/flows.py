"""Which targets there are cells with delays for."""

from __future__ import annotations

from asq_hw.errors import InputError
from rtl.energy.flow import Flow
from rtl.targets.registry import TARGETS, in_words
from rtl.targets.target import Target

__all__ = ["check_flow", "flow_of"]


def flow_of(target: Target) -> Flow:
    """How designs for a target are mapped and simulated.

    Raises
    ------
    InputError
        If there are no cells with delays for it.
    MissingToolError
        If the cell library, or pyosys with its models, is not installed.
    """
    check_flow(target)
    assert target.switching is not None
    return target.switching()


def check_flow(target: Target) -> None:
    """Raise InputError if there are no cells with delays for a target."""
    if target.switching is None:
        known = in_words(each for each in TARGETS if each.switching)
        raise InputError(f"switched energy is for {known}, not for {target}")
