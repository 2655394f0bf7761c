"""Which operations a unit may be given, as Verilog: what manifest and header say of its pace.

A proof about a unit must allow each sequence of operations that a user may send, and need not allow
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from rtl.design import VALID_IN, Design, Direction, Port
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.pooling import PoolingAccumulator

__all__ = ["LEGAL", "has_legal_value", "legal_monitor"]

LEGAL = "legal_operations"
"""Name of the monitor's module."""

_NUMBER_BITS = 24
"""Of a count of operations: a channel has at most 2**20 features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """Verilog about an operation's inputs, ``monitor_number`` and ``monitor_begun``.

    The first counts the operations before it since a reset or the last that `ends`; the second is
    whether there was one since the reset. No port has such a name.
    """

    allowed: str = "1'b1"
    """Whether the operation may come."""
    ends: str = "1'b0"
    """Whether the count begins anew behind it."""
    pauses: str = "1'b0"
    """Whether it needs the design's pause behind it."""


@singledispatch
def _rules(design: Design) -> _Rules:
    """Any operation, at the unit's interval."""
    return _Rules()


@_rules.register
def _quantizer(design: StepQuantizer) -> _Rules:
    return _Rules(allowed="load || monitor_begun", pauses="load")


@_rules.register
def _adapter(design: Adapter) -> _Rules:
    last = f"monitor_number == {design.channels - 1}"
    return _Rules(ends=last, pauses=last)


@_rules.register
def _pooling(design: PoolingAccumulator) -> _Rules:
    return _Rules(allowed=f"last || monitor_number < {design.elements - 1}", ends="last")


def legal_monitor(design: Design) -> str:
    """Verilog of a module with the unit's inputs, and ``legal``: no rule was broken so far.

    Values that no operation has count where ``valid_in`` is 1. A reset begins anew: it ends pauses,
    and its own cycle has no operation.
    """
    inputs = [port for port in design.ports if port.direction is Direction.IN]
    ports = ", ".join(f"input {_signed(port)}[{port.width - 1}:0] {port.name}" for port in inputs)
    rules = _rules(design)
    values = [has_legal_value(port) for port in inputs if port.values is not None]
    allowed = " && ".join([f"({rules.allowed})", "monitor_rest == 0", *values])
    idle = 0 if design.pause is None else design.pause.idle_cyc
    return f"""\
module {LEGAL}(input clk, input rst, {ports}, output legal);
  reg [{_NUMBER_BITS - 1}:0] monitor_rest = 0, monitor_number = 0;
  reg monitor_begun = 0, monitor_broken = 0;
  assign legal = !monitor_broken && (rst || !{VALID_IN.name} || ({allowed}));
  always @(posedge clk) begin
    monitor_broken <= !legal;
    if (rst) begin
      monitor_rest <= 0;
      monitor_number <= 0;
      monitor_begun <= 0;
    end else if ({VALID_IN.name}) begin
      monitor_rest <= ({rules.pauses}) ? {idle} : {design.interval_cyc - 1};
      monitor_number <= ({rules.ends}) ? 0 : monitor_number + 1;
      monitor_begun <= 1;
    end else if (monitor_rest != 0)
      monitor_rest <= monitor_rest - 1;
  end
endmodule
"""


def _signed(port: Port) -> str:
    return "signed " if port.signed else ""


def has_legal_value(port: Port) -> str:
    """Verilog of whether a port carries one of its values."""
    values = port.legal_values
    if isinstance(values, range) and values.step == 1:
        return f"({port.name} >= {values[0]} && {port.name} <= {values[-1]})"
    return "(" + " || ".join(f"{port.name} == {value}" for value in values) + ")"
