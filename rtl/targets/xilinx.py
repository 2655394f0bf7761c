"""AMD 7-series: look-up tables of 6 inputs."""

from __future__ import annotations

from collections.abc import Sequence

from rtl.targets.target import Area, Constraints, Resources, Statistics, Target, cells_starting

__all__ = ["XILINX"]

_LUTS = tuple(f"LUT{inputs}" for inputs in range(1, 7))


def _synthesize(top: str, dsp: bool) -> Sequence[str]:
    blocks = "" if dsp else "-nodsp "
    options = "-family xc7 -nobram -nolutram -nosrl -noiopad -noclkbuf"
    return [f"synth_xilinx {options} {blocks}-top {top}"]


def _count(statistics: Statistics) -> Resources:
    cells = statistics["num_cells_by_type"]
    return Resources(
        luts=sum(cells.get(name, 0) for name in _LUTS),
        ffs=cells_starting(statistics, "FD"),
        carries=4 * cells.get("CARRY4", 0),
        dsps=cells.get("DSP48E1", 0),
    )


XILINX = Target(
    name="xilinx",
    title="7-series",
    synthesize=_synthesize,
    count=_count,
    area=Area(key="luts", heading="LUTs"),
    constraints=Constraints(
        suffix="xdc",
        text=lambda mhz: f"create_clock -name clk -period {1000 / mhz:.3f} [get_ports clk]\n",
        file_type="xdc",
        flow="vivado",
        tool="vivado",
    ),
)
