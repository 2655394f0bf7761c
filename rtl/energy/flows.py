"""How each target's netlists are simulated with delays."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from asq_hw.errors import InputError
from rtl.energy.library import CellLibrary
from rtl.energy.switching import Flow
from rtl.targets.gates import RIPPLE_CARRY, to_gates
from rtl.targets.target import Target
from rtl.tools import MissingToolError, ToolError

__all__ = ["check_flow", "flow_of"]

_ECP5_MODELS = ("LUT2", "LUT4", "PFUMX", "L6MUX21", "CCU2C", "TRELLIS_FF")


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
    return _FLOWS[target.name](target)


def check_flow(target: Target) -> None:
    """Raise InputError if there are no cells with delays for a target."""
    if target.name not in _FLOWS:
        raise InputError(f"switched energy is for {', '.join(_FLOWS)}, not for {target}")


def _gates(target: Target) -> Flow:
    library = CellLibrary.load()
    return Flow(
        map=lambda top: [
            *to_gates(top),
            f"read_liberty -lib -ignore_miss_func {library.liberty}",
            f"dfflibmap -liberty {library.liberty}",
            f"abc -liberty {library.liberty}",
            "opt_clean",
        ],
        models=library.models.read_text(encoding="utf-8", errors="replace"),
        unit="1ns",
        counts=lambda pin: True,
        capacitance_pf=library.capacitance_pf,
        voltage=library.voltage,
        files={"ripple_carry.v": RIPPLE_CARRY},
    )


def _ecp5(target: Target) -> Flow:
    return Flow(
        map=lambda top: [*target.synthesize(top, False), "flatten"],
        models=_only(_ECP5_MODELS, _models("ecp5", "common_sim.vh", "ccu2c_sim.vh")),
        unit="1ps",
        counts=lambda pin: pin in {("LUT4", "Z"), ("CCU2C", "S0"), ("CCU2C", "S1")},
    )


def _ice40(target: Target) -> Flow:
    return Flow(
        map=lambda top: [*target.synthesize(top, False), "flatten"],
        models=_models("ice40", "cells_sim.v"),
        unit="1ps",
        counts=lambda pin: pin == ("SB_LUT4", "O"),
        defines=("ICE40_HX", "NO_ICE40_DEFAULT_ASSIGNMENTS"),
    )


def _models(family: str, *names: str) -> str:
    """Yosys' own models of a family's cells, whose delays are those that it maps by."""
    wheel = find_spec("pyosys")
    if wheel is None or wheel.origin is None:
        raise MissingToolError("pyosys", "pip install 'asq-hw[eda]'")
    folder = Path(wheel.origin).parent / "share" / family
    try:
        texts = [(folder / name).read_text(encoding="utf-8") for name in names]
    except OSError as error:
        raise ToolError(f"pyosys lacks {names[0]} of {family}: {error.strerror}") from None
    return "\n".join(texts)


def _only(names: Sequence[str], text: str) -> str:
    """Some modules of a file that holds others that Icarus does not read."""
    found = []
    for name in names:
        module = re.search(rf"^module {name}\s*\(.*?^endmodule", text, re.DOTALL | re.MULTILINE)
        if module is None:
            raise ToolError(f"pyosys has no model of {name}")
        found.append(module[0])
    return "\n".join(found) + "\n"


_FLOWS: Mapping[str, Callable[[Target], Flow]] = {"gates": _gates, "ecp5": _ecp5, "ice40": _ice40}
