"""What a target is: the commands that synthesize for it, what is counted, and how it is routed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtl.energy.flow import Flow
from rtl.lib.cells import Cells

__all__ = [
    "NETLIST",
    "Area",
    "Constraints",
    "Placement",
    "Resources",
    "Router",
    "Statistics",
    "Target",
    "cells_starting",
]

NETLIST = "netlist.json"
"""File that the synthesis commands of a target that can be routed write."""

Statistics = Mapping[str, Any]
"""What Yosys' ``stat -json`` says of a design: ``num_cells_by_type`` and others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a netlist is made of; None where a target has no such thing.

    Parameters
    ----------
    ffs : int
        Flip-flops.
    luts : int or None
        Look-up tables, those inside carry chains among them.
    carries : int or None
        Bits of carry chains.
    dsps : int or None
        Multiplier blocks.
    transistors : int or None
        Yosys' estimate (``stat -tech cmos``: NAND 4, XOR 12, D flip-flop 16, ...).
    others : mapping of int
        What else a target counts, by the name of its column.
    """

    ffs: int
    luts: int | None = None
    carries: int | None = None
    dsps: int | None = None
    transistors: int | None = None
    others: Mapping[str, int] = field(default_factory=dict)

    def count(self, key: str) -> int | None:
        """How many there are of what the column `key` counts."""
        value = self.others[key] if key in self.others else getattr(self, key)
        assert value is None or isinstance(value, int)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """What a target's area is counted in.

    Parameters
    ----------
    key : str
        A field of `Resources`, or one of its `others`.
    heading : str
        What people call it: "LUTs".
    """

    key: str
    heading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """The file that tells a target's place-and-route program the clock.

    Parameters
    ----------
    suffix : str
        Ending of the file's name.
    text : callable
        Contents, for a frequency of the port ``clk`` in MHz. Pins are the board's and stand in
        none of them.
    file_type : str
        FuseSoC's word for such files.
    flow : str
        Name of the FuseSoC target that reads it.
    tool : str
        The program that FuseSoC runs for it.
    """

    suffix: str
    text: Callable[[float], str]
    file_type: str
    flow: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One placement: highest frequency of the slowest clock, and cells that were placed."""

    mhz: float
    cells: int


class Router(ABC):
    """A place-and-route program with a device."""

    @property
    @abstractmethod
    def package(self) -> str:
        """The distribution that brings the program: what it is called where it is missing."""

    @property
    @abstractmethod
    def enables(self) -> str:
        """What works with the program and does not without it."""

    @property
    @abstractmethod
    def device(self) -> str:
        """The device that is routed for, with its package."""

    @property
    @abstractmethod
    def pins(self) -> int:
        """Pins of the device that a design can have."""

    @abstractmethod
    def check_installed(self) -> None:
        """Raise MissingToolError if the program is not there."""

    @abstractmethod
    def place(self, folder: Path, seed: int) -> Placement:
        """Place and route the `NETLIST` in `folder`.

        Raises
        ------
        ToolError
            If the program fails or does not say what it reached.
        """

    @abstractmethod
    def try_out(self, folder: Path, timeout_s: float) -> None:
        """Do a tiny job in `folder`; raise ToolError if the program does not work."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A family of chips, or plain gates. Memories are never used.

    A table of products is made of look-up tables, so that every design is measured in the same
    kind of thing.

    Parameters
    ----------
    name : str
        What ``--target`` calls it.
    title : str
        What tables call it.
    synthesize : callable
        Yosys' commands for a top module, with multiplier blocks or without: ``(top, dsp)``. Those
        of a target with a router write `NETLIST`.
    count : callable
        Resources from Yosys' statistics of the netlist.
    area : Area
        What its area is counted in.
    has_free_registers : bool
        Whether each look-up table has a register beside it, so that one more costs nothing.
    statistics : str
        The Yosys command that counts the netlist's cells.
    files : mapping of str
        Texts that the commands read, by file name.
    constraints : Constraints, optional
        Of emitted folders.
    router : Router, optional
        How it is placed and routed; None if it is not.
    cells : Cells, optional
        Cells that add and choose at once, which units for it can be made of; None where ``+`` makes
        as good use of the chip.
    switching : callable, optional
        How its netlists are simulated with delays; None where its cells have none.
    """

    name: str
    title: str
    synthesize: Callable[[str, bool], Sequence[str]]
    count: Callable[[Statistics], Resources]
    area: Area
    has_free_registers: bool = True
    statistics: str = "stat -json"
    files: Mapping[str, str] = field(default_factory=dict)
    constraints: Constraints | None = None
    router: Router | None = None
    cells: Cells | None = None
    switching: Callable[[], Flow] | None = None

    def __str__(self) -> str:
        return self.name


def cells_starting(statistics: Statistics, prefix: str) -> int:
    """Cells whose type begins with `prefix`."""
    cells = statistics["num_cells_by_type"]
    return sum(number for name, number in cells.items() if name.startswith(prefix))
