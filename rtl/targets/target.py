"""What can be synthesized for, by which Yosys commands, and how the result is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["RIPPLE_CARRY", "Resources", "Target", "count", "script"]


class Target(StrEnum):
    """A family of chips, or plain gates."""

    ICE40 = "ice40"
    """Lattice iCE40: look-up tables of 4 inputs."""
    ECP5 = "ecp5"
    """Lattice ECP5: look-up tables of 4 inputs."""
    XILINX = "xilinx"
    """AMD 7-series: look-up tables of 6 inputs."""
    GATES = "gates"
    """CMOS gates, counted in transistors."""

    @property
    def is_routable(self) -> bool:
        """Whether nextpnr places and routes it."""
        return self in (Target.ICE40, Target.ECP5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a netlist is made of.

    Parameters
    ----------
    luts : int or None
        Look-up tables, those inside carry chains among them; None for gates.
    ffs : int
        Flip-flops.
    carries : int or None
        Bits of carry chains; None for gates.
    dsps : int or None
        Multiplier blocks; None for gates.
    transistors : int or None
        Yosys' estimate (``stat -tech cmos``: NAND 4, XOR 12, D flip-flop 16, ...); gates alone.
    """

    luts: int | None = None
    ffs: int
    carries: int | None = None
    dsps: int | None = None
    transistors: int | None = None


RIPPLE_CARRY = """
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

_GATES = (
    "synth -flatten -top {top} -run begin:fine",
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
    "abc -g cmos",
    "opt_clean",
    "delete t:$scopeinfo",
)


def script(target: Target, top: str, *, dsp: bool) -> list[str]:
    """Yosys commands that synthesize module `top`; FPGA netlists go to ``netlist.json``.

    Memories are never used: a table of products is made of look-up tables, so that every
    design is measured in the same kind of thing.
    """
    no_dsp = [] if dsp else ["-nodsp"]
    match target:
        case Target.ICE40:
            options = ["synth_ice40", "-nobram", *(["-dsp"] if dsp else [])]
        case Target.ECP5:
            options = ["synth_ecp5", "-nobram", "-nolutram", *no_dsp]
        case Target.XILINX:
            options = ["synth_xilinx", "-family xc7", "-nobram", "-nolutram", "-nosrl"]
            options += ["-noiopad", "-noclkbuf", *no_dsp]
        case Target.GATES:
            return [line.format(top=top) for line in _GATES]
    written = ["-json netlist.json"] if target.is_routable else []
    return [" ".join([*options, "-top", top, *written])]


def count(target: Target, cells: Mapping[str, int], transistors: int | None) -> Resources:
    """Resources of a netlist from its cells by type."""
    match target:
        case Target.ICE40:
            return Resources(
                luts=cells.get("SB_LUT4", 0),
                ffs=_starting(cells, "SB_DFF"),
                carries=cells.get("SB_CARRY", 0),
                dsps=cells.get("SB_MAC16", 0),
            )
        case Target.ECP5:
            chained = 2 * cells.get("CCU2C", 0)  # each holds two look-up tables
            return Resources(
                luts=cells.get("LUT4", 0) + chained,
                ffs=cells.get("TRELLIS_FF", 0),
                carries=chained,
                dsps=_starting(cells, "MULT18X18"),
            )
        case Target.XILINX:
            return Resources(
                luts=sum(n for name, n in cells.items() if name in _XILINX_LUTS),
                ffs=_starting(cells, "FD"),
                carries=4 * cells.get("CARRY4", 0),
                dsps=cells.get("DSP48E1", 0),
            )
        case Target.GATES:
            return Resources(ffs=cells.get("$_DFF_P_", 0), transistors=transistors)


_XILINX_LUTS = frozenset(f"LUT{inputs}" for inputs in range(1, 7))


def _starting(cells: Mapping[str, int], prefix: str) -> int:
    return sum(n for name, n in cells.items() if name.startswith(prefix))
