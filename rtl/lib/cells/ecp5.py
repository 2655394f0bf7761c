"""Lattice ECP5: CCU2C, two bits of a carry chain with a look-up table of four inputs each.

A bit's sum is its table XOR the carry in. Where the table is 1 the carry goes on; where it is 0,
the carry out is the same table with inputs C and D at 0, which is its lowest quarter (Lattice, FPGA
Libraries Reference Guide). So a chain adds ``A + f(B, C, D)`` for every f that is 0 where C and D
are 0: the table is ``A ^ f``, its quarter A. With ``A ^ B`` in place of A, B inverts what is added
to ``f(C, D)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rtl.lib.cells.cells import Cells, Inverted, Operands

if TYPE_CHECKING:
    from amaranth.hdl import Module, Value

__all__ = ["ECP5_CELLS"]

_MODEL = """\
// CCU2C of Lattice's ECP5: two bits of a carry chain. What the cell computes, for simulation.
module CCU2C(
  input CIN, input A0, input B0, input C0, input D0, input A1, input B1, input C1, input D1,
  output S0, output S1, output COUT);
  parameter [15:0] INIT0 = 16'h0000;
  parameter [15:0] INIT1 = 16'h0000;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";
  wire table0 = INIT0[{D0, C0, B0, A0}];
  wire table1 = INIT1[{D1, C1, B1, A1}];
  wire quarter0 = INIT0[{2'b00, B0, A0}];
  wire quarter1 = INIT1[{2'b00, B1, A1}];
  wire out0 = table0 ? CIN : (INJECT1_0 == "YES" ? 1'b0 : quarter0);
  wire out1 = table1 ? out0 : (INJECT1_1 == "YES" ? 1'b0 : quarter1);
  assign S0 = table0 ^ (INJECT1_0 == "YES" ? 1'b0 : CIN);
  assign S1 = table1 ^ (INJECT1_1 == "YES" ? 1'b0 : out0);
  assign COUT = out1;
endmodule
"""


def _table(function: Callable[[int, int, int], int]) -> int:
    """Contents of a look-up table that computes ``A ^ function(B, C, D)``."""
    return sum(
        ((place & 1) ^ function(place >> 1 & 1, place >> 2 & 1, place >> 3)) << place
        for place in range(16)
    )


_CHOSEN = _table(lambda b, c, d: c if b else d)
_SIGNED = _table(lambda b, c, d: d & (b ^ c))
_INVERTED = _table(lambda b, c, d: b ^ c ^ d)


def _add_chosen(m: Module, operands: Operands, name: str) -> Value:
    from rtl.lib.cells.ecp5_chain import chain  # it loads amaranth

    zero, one = operands.words
    chosen = operands.chosen.replicate(operands.width)
    return chain(m, _CHOSEN, (operands.base, chosen, one, zero), operands.carry, name)


def _add_or_subtract(m: Module, operands: Operands, name: str) -> Value:
    from rtl.lib.cells.ecp5_chain import chain

    (word,) = operands.words
    chosen = operands.chosen.replicate(operands.width)
    return chain(m, _SIGNED, (operands.base, word, chosen, None), operands.carry, name)


def _add_inverted(m: Module, operands: Inverted, name: str) -> Value:
    from amaranth.hdl import Const

    from rtl.lib.cells.ecp5_chain import chain

    (base, word), (flips, others) = operands.words, operands.flips
    return chain(m, _INVERTED, (base, flips, word, others), Const(0, 1), name)


ECP5_CELLS = Cells(
    name="ecp5",
    title="carry cells of Lattice's ECP5 (CCU2C)",
    model=_MODEL,
    add_chosen=_add_chosen,
    add_or_subtract=_add_or_subtract,
    add_inverted=_add_inverted,
)
