"""Place and route with nextpnr."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rtl.targets.target import NETLIST, Placement, Router
from rtl.tools import ToolError, find_nextpnr, produced, read_json, run_tool

__all__ = ["Nextpnr"]

_GOAL_MHZ = 500
"""More than any design reaches, so that the router never stops early."""

_TIMEOUT_S = 300

_REPORT = "report.json"

# A netlist without cells, which is placed, routed and timed in no time.
_TRIAL = {"creator": "", "modules": {"tiny": {"ports": {}, "cells": {}, "netnames": {}}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nextpnr(Router):
    """nextpnr of one family of chips, for one device.

    Parameters
    ----------
    family : str
        Ending of the program's name.
    device : str
        For people: the device with its package.
    options : tuple of str
        The same for the program.
    route_options : tuple of str
        Others, which only placing a design needs.
    io_cell : str
        The report's name of a pin's cell.
    pins : int
        Pins of the device that a design can have: what the report says is available of them.
    cell : str
        The report's name of the cells that are counted.
    """

    family: str
    device: str
    options: tuple[str, ...]
    route_options: tuple[str, ...]
    io_cell: str
    pins: int
    cell: str

    @property
    def package(self) -> str:
        """The WebAssembly one that pip installs."""
        return f"yowasp-nextpnr-{self.family}"

    @property
    def enables(self) -> str:
        """All of these programs are for Lattice's chips."""
        return "place and route for Lattice FPGAs"

    def check_installed(self) -> None:
        """Look for the program."""
        find_nextpnr(self.family)

    def place(self, folder: Path, seed: int) -> Placement:
        """Place and route with a goal that is out of reach."""
        program = find_nextpnr(self.family)
        command = [
            *(program, *self.options, *self.route_options),
            *("--json", NETLIST, "--report", _REPORT, "--seed", str(seed)),
            *("--freq", str(_GOAL_MHZ), "--timing-allow-fail", "--quiet"),
        ]
        run_tool(command, folder=folder, timeout_s=_TIMEOUT_S)
        report = read_json(folder / _REPORT, f"nextpnr ({program})")
        try:
            return Placement(
                mhz=min(float(clock["achieved"]) for clock in report["fmax"].values()),
                cells=int(report["utilization"][self.cell]["used"]),
            )
        except (KeyError, TypeError, ValueError):
            raise ToolError(f"nextpnr ({program}) reported no frequency or no cells") from None

    def try_out(self, folder: Path, timeout_s: float) -> None:
        """Route a netlist without a cell."""
        program = find_nextpnr(self.family)
        (folder / NETLIST).write_text(json.dumps(_TRIAL), encoding="ascii")
        command = [program, *self.options, "--json", NETLIST, "--report", _REPORT, "--quiet"]
        try:
            run_tool(command, folder=folder, timeout_s=timeout_s)
            produced(folder / _REPORT, f"nextpnr ({program})")
        except ToolError as error:
            # A program on the PATH goes before the one that pip brings, which cannot mend it.
            native = not Path(program).name.startswith("yowasp")
            mend = f"remove {program}, or install it anew" if native else ""
            raise ToolError(error.problem, error.log, mend=mend) from None
