"""Lattice iCE40: look-up tables of 4 inputs."""

from __future__ import annotations

from collections.abc import Sequence

from rtl.energy.flow import Flow, yosys_models
from rtl.targets.nextpnr import Nextpnr
from rtl.targets.target import (
    NETLIST,
    Area,
    Constraints,
    Resources,
    Statistics,
    Target,
    cells_starting,
)

__all__ = ["ICE40"]


def _synthesize(top: str, dsp: bool) -> Sequence[str]:
    blocks = "-dsp " if dsp else ""
    return [f"synth_ice40 -nobram {blocks}-top {top} -json {NETLIST}"]


def _count(statistics: Statistics) -> Resources:
    cells = statistics["num_cells_by_type"]
    return Resources(
        luts=cells.get("SB_LUT4", 0),
        ffs=cells_starting(statistics, "SB_DFF"),
        carries=cells.get("SB_CARRY", 0),
        dsps=cells.get("SB_MAC16", 0),
    )


def _switching() -> Flow:
    return Flow(
        map=lambda top: [*_synthesize(top, False), "flatten"],
        models=yosys_models("ice40", "cells_sim.v"),
        unit="1ps",
        counts=lambda pin: pin == ("SB_LUT4", "O"),
        defines=("ICE40_HX", "NO_ICE40_DEFAULT_ASSIGNMENTS"),
    )


ICE40 = Target(
    name="ice40",
    title="iCE40",
    synthesize=_synthesize,
    count=_count,
    area=Area(key="luts", heading="LUTs"),
    constraints=Constraints(
        suffix="pcf",
        text=lambda mhz: f"set_frequency clk {mhz:g}\n",
        file_type="PCF",
        flow="ice40",
        tool="icestorm",
    ),
    router=Nextpnr(
        family="ice40",
        device="HX8K in CT256",
        options=("--hx8k", "--package", "ct256"),
        route_options=("--pcf-allow-unconstrained",),
        io_cell="SB_IO",
        pins=206,
        cell="ICESTORM_LC",
    ),
    switching=_switching,
)
