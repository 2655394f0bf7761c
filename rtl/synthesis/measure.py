"""Synthesis, place and route of one design."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil

from asq_hw.errors import InputError, check_range
from rtl.design import Design
from rtl.targets.registry import TARGETS, in_words
from rtl.targets.target import Placement, Resources, Router, Target
from rtl.tools import ToolError, read_json, run_yosys

__all__ = ["MAX_SEEDS", "Measurement", "check_pins", "find_router", "measure"]

MAX_SEEDS = 100

_TIMEOUT_S = 3600
"""An array of 256 products takes minutes."""


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
        What to build it for.
    seeds : int
        Placements, 0 to 100.
    dsp : bool
        Whether multiplier blocks may be used.

    Raises
    ------
    MissingToolError
        If pyosys or the place-and-route program is not installed.
    ToolError
        If one of them fails.
    InputError
        If the target cannot be routed, the design has more ports than it has pins, or it is made
        of another family's cells.
    """
    check_range("seeds", seeds, 0, MAX_SEEDS)
    if design.cells not in (None, target.cells):
        raise InputError(f"{design.stem} is made of {design.cells} cells, which {target} has not")
    if seeds:
        check_pins(design, target)
        find_router(target).check_installed()
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        try:
            resources = _synthesize(design, target, folder, dsp=dsp)
            placed = [_place(target, folder, seed) for seed in range(1, seeds + 1)]
        except ToolError as error:
            raise ToolError(f"{design.name}: {error}", error.log) from None
    return Measurement(
        resources=resources,
        fmax_by_seed_mhz=tuple(placement.mhz for placement in placed),
        cells=placed[0].cells if placed else None,
    )


def find_router(target: Target) -> Router:
    """How the target is routed.

    Raises
    ------
    InputError
        If it is not.
    """
    if target.router is None:
        routed = in_words(each for each in TARGETS if each.router)
        raise InputError(f"place and route is for {routed}, not for {target}")
    return target.router


def check_pins(design: Design, target: Target) -> None:
    """Raise InputError if a design has more port bits than the device to route on has pins."""
    bits = 2 + sum(port.width for port in design.ports)  # clock and reset
    router = find_router(target)
    if bits > router.pins:
        raise InputError(
            f"{design.stem} has ports of {bits} bits, and place and route on {target} is for at "
            f"most {router.pins}, the pins of {router.device}"
        )


def _synthesize(design: Design, target: Target, folder: Path, *, dsp: bool) -> Resources:
    component = design.component()
    text = rtlil.convert(component, name=design.name, emit_src=False)
    for name, content in {"design.il": text, **target.files}.items():
        (folder / name).write_text(content, encoding="utf-8")
    lines = [
        "read_rtlil design.il",
        *target.synthesize(design.name, dsp),
        f"tee -q -o cells.json {target.statistics}",
    ]
    run_yosys("\n".join(lines) + "\n", folder=folder, timeout_s=_TIMEOUT_S)
    return target.count(read_json(folder / "cells.json", "Yosys")["design"])


def _place(target: Target, folder: Path, seed: int) -> Placement:
    return find_router(target).place(folder, seed)
