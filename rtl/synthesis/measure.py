"""Synthesis, place and route of one design."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from asq_hw.errors import InputError
from asq_hw.numbers.validation import check_range
from rtl import tools
from rtl.design import Design
from rtl.synthesis.targets import RIPPLE_CARRY, Resources, Target, count, script
from rtl.tools import ToolError, produced, run_tool, run_yosys

__all__ = ["MAX_SEEDS", "Measurement", "check_pins", "find_nextpnr", "measure"]

MAX_SEEDS = 100

_DEVICES = {
    Target.ICE40: ("ice40", ["--hx8k", "--package", "ct256", "--pcf-allow-unconstrained"]),
    Target.ECP5: (
        "ecp5",
        ["--25k", "--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained"],
    ),
}
_PINS = {Target.ICE40: ("HX8K in CT256", 206), Target.ECP5: ("LFE5U-25 in CABGA381", 197)}
"""The devices and how many of their pins a design can have."""
_CELLS = {Target.ICE40: "ICESTORM_LC", Target.ECP5: "TRELLIS_COMB"}
_GOAL_MHZ = 500
"""More than any design reaches, so that the router never stops early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A design on a target.

    Parameters
    ----------
    resources : Resources
        What it is made of.
    fmax_by_seed_mhz : tuple of float
        Highest clock frequency of each placement; empty without place and route.
    cells : int or None
        Cells that nextpnr placed, those that begin and end carry chains among them: halves of
        slices with a look-up table each (ECP5), or look-up tables, flip-flops and pairs of both
        (iCE40). None without place and route.
    """

    resources: Resources
    fmax_by_seed_mhz: tuple[float, ...] = ()
    cells: int | None = None

    @property
    def fmax_mhz(self) -> float | None:
        """Median of the placements' frequencies."""
        return statistics.median(self.fmax_by_seed_mhz) if self.fmax_by_seed_mhz else None


def measure(design: Design, target: Target, *, seeds: int = 0, dsp: bool = False) -> Measurement:
    """Synthesize a design and, with `seeds` above 0, place and route it so many times.

    Parameters
    ----------
    design : Design
        What to build.
    target : Target
        Which chip; see `Target.is_routable`.
    seeds : int
        Placements, 0 to 100.
    dsp : bool
        Whether multiplier blocks may be used.

    Raises
    ------
    MissingToolError
        If pyosys or nextpnr is not installed.
    ToolError
        If one of them fails.
    InputError
        If the target cannot be routed, or the design has more ports than it has pins.
    """
    check_range("seeds", seeds, 0, MAX_SEEDS)
    if seeds and not target.is_routable:
        raise InputError(f"place and route is for ice40 and ecp5, not for {target}")
    if seeds:
        check_pins(design, target)
    program = find_nextpnr(target) if seeds else ""
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        resources = _synthesize(design, target, folder, dsp=dsp)
        placed = [
            _route(design.name, program, target, folder, seed) for seed in range(1, seeds + 1)
        ]
    return Measurement(
        resources=resources,
        fmax_by_seed_mhz=tuple(mhz for mhz, _ in placed),
        cells=placed[0][1] if placed else None,
    )


def find_nextpnr(target: Target) -> str:
    """A native nextpnr on the PATH, or the WebAssembly one that pip installs."""
    return tools.find_nextpnr(_DEVICES[target][0])


def check_pins(design: Design, target: Target) -> None:
    """Raise InputError if a design has more port bits than the device to route on has pins."""
    bits = 2 + sum(port.width for port in design.ports)  # clock and reset
    device, pins = _PINS[target]
    if bits > pins:
        raise InputError(
            f"{design.stem} has ports of {bits} bits, and place and route on {target} is for at "
            f"most {pins}, the pins of {device}"
        )


def _synthesize(design: Design, target: Target, folder: Path, *, dsp: bool) -> Resources:
    component = design.component()
    text = rtlil.convert(component, name=design.name, emit_src=False)
    (folder / "design.il").write_text(text, encoding="utf-8")
    (folder / "ripple_carry.v").write_text(RIPPLE_CARRY, encoding="utf-8")
    counting = "stat -tech cmos -json" if target is Target.GATES else "stat -json"
    lines = [
        "read_rtlil design.il",
        *script(target, design.name, dsp=dsp),
        f"tee -q -o cells.json {counting}",
    ]
    run_yosys("\n".join(lines) + "\n", folder=folder)
    counted = _read_json(folder / "cells.json", "Yosys")["design"]
    transistors = str(counted.get("estimated_num_transistors", 0))
    if transistors.endswith("+"):
        raise ToolError(f"Yosys has no price for some cells of {design.name}", str(counted))
    return count(target, counted["num_cells_by_type"], int(transistors))


def _route(name: str, program: str, target: Target, folder: Path, seed: int) -> tuple[float, int]:
    """Highest frequency of the slowest clock with one placement; its cells."""
    options: Sequence[str] = [
        *_DEVICES[target][1],
        *("--json", "netlist.json", "--report", "report.json", "--seed", str(seed)),
        *("--freq", str(_GOAL_MHZ), "--timing-allow-fail", "--quiet"),
    ]
    try:
        run_tool([program, *options], folder=folder, timeout_s=300)
    except ToolError as error:
        raise ToolError(f"{name}: {error}", error.log) from None
    report = _read_json(folder / "report.json", f"nextpnr ({program})")
    try:
        mhz = min(float(clock["achieved"]) for clock in report["fmax"].values())
        return mhz, int(report["utilization"][_CELLS[target]]["used"])
    except (KeyError, TypeError, ValueError):
        raise ToolError(f"{name}: nextpnr ({program}) reported no frequency or no cells") from None


def _read_json(path: Path, tool: str) -> dict[str, Any]:
    """The object in a tool's output, whatever the tool says before it."""
    text = produced(path, tool).read_text(encoding="utf-8", errors="replace")
    try:
        document: dict[str, Any] = json.loads(text[text.index("{") :])
    except ValueError:
        raise ToolError(f"{tool} wrote a {path.name} that is no JSON", text) from None
    return document
