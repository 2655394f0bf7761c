"""CMOS gates, counted in transistors."""

from __future__ import annotations

from collections.abc import Sequence

from rtl.energy.flow import Flow
from rtl.energy.library import CellLibrary
from rtl.targets.target import Area, Resources, Statistics, Target
from rtl.tools import ToolError

__all__ = ["GATES"]

_RIPPLE_CARRY = """
(* techmap_celltype = "$lcu" *)
module ripple_carry (P, G, CI, CO);
  parameter WIDTH = 1;
  input [WIDTH-1:0] P, G;
  input CI;
  output [WIDTH-1:0] CO;
  wire [WIDTH:0] C = {CO, CI};
  assign CO = G | (P & C[WIDTH-1:0]);
endmodule
"""
"""Yosys' own gates for adders are fast and large (Brent-Kung); area is compared on small ones."""


def _to_gates(top: str) -> Sequence[str]:
    """Yosys' commands from a design to simple gates and plain flip-flops, not yet priced."""
    return [
        f"synth -flatten -top {top} -run begin:fine",
        "opt -fast -full",
        "memory_map",
        "opt -undriven -fine",
        "techmap -map ripple_carry.v -map +/techmap.v",
        "opt -fast",
        # Enables and resets become gates, since only the plain flip-flop has a price.
        "dfflegalize -cell $_DFF_P_ 01",
        "opt_expr",
        "opt_merge",
        "opt_clean",
    ]


def _synthesize(top: str, dsp: bool) -> Sequence[str]:
    return [*_to_gates(top), "abc -g cmos", "opt_clean", "delete t:$scopeinfo"]


def _count(statistics: Statistics) -> Resources:
    transistors = str(statistics.get("estimated_num_transistors", 0))
    if transistors.endswith("+"):
        raise ToolError("Yosys has no price for some cells", str(statistics))
    ffs = statistics["num_cells_by_type"].get("$_DFF_P_", 0)
    return Resources(ffs=ffs, transistors=int(transistors))


def _switching() -> Flow:
    library = CellLibrary.load()
    return Flow(
        map=lambda top: [
            *_to_gates(top),
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
        files=GATES.files,
    )


GATES = Target(
    name="gates",
    title="gates",
    synthesize=_synthesize,
    count=_count,
    area=Area(key="transistors", heading="transistors"),
    has_free_registers=False,
    statistics="stat -tech cmos -json",
    files={"ripple_carry.v": _RIPPLE_CARRY},
    switching=_switching,
)
