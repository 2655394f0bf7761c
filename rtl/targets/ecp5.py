"""Lattice ECP5: look-up tables of 4 inputs."""

from __future__ import annotations

from collections.abc import Sequence

from rtl.energy.flow import Flow, only_modules, yosys_models
from rtl.lib.cells import ECP5_CELLS
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

__all__ = ["ECP5"]


def _synthesize(top: str, dsp: bool) -> Sequence[str]:
    blocks = "" if dsp else "-nodsp "
    return [f"synth_ecp5 -nobram -nolutram {blocks}-top {top} -json {NETLIST}"]


def _count(statistics: Statistics) -> Resources:
    cells = statistics["num_cells_by_type"]
    chained = 2 * cells.get("CCU2C", 0)  # each holds two look-up tables
    return Resources(
        luts=cells.get("LUT4", 0) + chained,
        ffs=cells.get("TRELLIS_FF", 0),
        carries=chained,
        dsps=cells_starting(statistics, "MULT18X18"),
    )


_MODELS = ("LUT2", "LUT4", "PFUMX", "L6MUX21", "CCU2C", "TRELLIS_FF")


def _switching() -> Flow:
    models = yosys_models("ecp5", "common_sim.vh", "ccu2c_sim.vh")
    return Flow(
        map=lambda top: [*_synthesize(top, False), "flatten"],
        models=only_modules(_MODELS, models),  # of others there are some that Icarus does not read
        unit="1ps",
        counts=lambda pin: pin in {("LUT4", "Z"), ("CCU2C", "S0"), ("CCU2C", "S1")},
    )


ECP5 = Target(
    name="ecp5",
    title="ECP5",
    synthesize=_synthesize,
    count=_count,
    area=Area(key="luts", heading="LUTs"),
    constraints=Constraints(
        suffix="lpf",
        text=lambda mhz: f'FREQUENCY PORT "clk" {mhz:g} MHZ;\n',
        file_type="LPF",
        flow="ecp5",
        tool="trellis",
    ),
    router=Nextpnr(
        family="ecp5",
        device="LFE5U-25 in CABGA381",
        options=("--25k", "--package", "CABGA381"),
        route_options=("--speed", "6", "--lpf-allow-unconstrained"),
        io_cell="TRELLIS_IO",
        pins=197,
        cell="TRELLIS_COMB",
    ),
    cells=ECP5_CELLS,
    switching=_switching,
)
