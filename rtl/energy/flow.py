"""How a target's netlists are made and simulated with delays: what a target declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rtl.energy.netlist import Pin
from rtl.tools import MissingToolError, ToolError

__all__ = ["Flow", "only_modules", "yosys_models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How a family of chips' netlists are made and simulated.

    Parameters
    ----------
    map : callable
        Yosys' commands for a top module, by its name.
    models : str
        Verilog of the cells, with their delays.
    unit : str
        The delays' unit: ``1ns``, ``1ps``.
    defines : sequence of str
        Macros that the models want.
    counts : callable
        Whether changes of a net count that this pin drives.
    capacitance_pf : mapping, optional
        Of each input pin, by cell and pin; None where it is not known.
    voltage : float, optional
        Of the supply, in V.
    files : mapping of str
        Texts that the commands read, by file name.
    """

    map: Callable[[str], Sequence[str]]
    models: str
    unit: str
    counts: Callable[[Pin], bool]
    defines: Sequence[str] = ()
    capacitance_pf: Mapping[Pin, float] | None = None
    voltage: float | None = None
    files: Mapping[str, str] | None = None


def yosys_models(family: str, *names: str) -> str:
    """Yosys' own models of a family's cells, whose delays are those that it maps by.

    Raises
    ------
    MissingToolError
        If pyosys is not installed.
    ToolError
        If it lacks one of the files.
    """
    wheel = find_spec("pyosys")
    if wheel is None or wheel.origin is None:
        raise MissingToolError("pyosys", "pip install 'asq-hw[eda]'")
    folder = Path(wheel.origin).parent / "share" / family
    try:
        texts = [(folder / name).read_text(encoding="utf-8") for name in names]
    except OSError as error:
        raise ToolError(f"pyosys lacks {names[0]} of {family}: {error.strerror}") from None
    return "\n".join(texts)


def only_modules(names: Sequence[str], text: str) -> str:
    """Some modules of a file; raise ToolError if one is not there."""
    found = []
    for name in names:
        module = re.search(rf"^module {name}\s*\(.*?^endmodule", text, re.DOTALL | re.MULTILINE)
        if module is None:
            raise ToolError(f"pyosys has no model of {name}")
        found.append(module[0])
    return "\n".join(found) + "\n"
