"""Which operations a unit may be given, as a circuit: what manifest and header say of its pace.

A proof about a unit must allow each sequence of operations that a user may send, and need not allow
another.
"""

from __future__ import annotations

from rtl.design import VALID_IN, Design, Direction, Port
from rtl.rules import BEGUN, IDLE, NUMBER

__all__ = ["LEGAL", "has_legal_value", "legal_monitor"]

LEGAL = "legal_operations"
"""Name of the monitor's module."""

_NUMBER_BITS = 24
"""Of a count of operations: a channel has at most 2**20 features."""


def legal_monitor(design: Design) -> str:
    """Verilog of a module with the unit's inputs, and two outputs about the operations.

    ``monitor_taken`` is ``valid_in``, but 0 where an operation breaks a rule: with it a unit gets
    legal operations alone, and any sequence of them that there is. ``monitor_legal`` is whether no
    rule was broken so far.

    Values that no operation has count where ``valid_in`` is 1. A reset begins anew: it ends pauses,
    and its own cycle has no operation.
    """
    inputs = [port for port in design.ports if port.direction is Direction.IN]
    ports = ", ".join(f"input {_signed(port)}[{port.width - 1}:0] {port.name}" for port in inputs)
    rules = design.rules
    values = [has_legal_value(port) for port in inputs if port.values is not None]
    allowed = " && ".join([f"({rules.allowed})", "monitor_rest == 0", *values])
    idle = 0 if design.pause is None else design.pause.idle_cyc
    return f"""\
module {LEGAL}(input clk, input rst, {ports}, output monitor_taken, output monitor_legal);
  reg [{_NUMBER_BITS - 1}:0] monitor_rest = 0, {NUMBER} = 0;
  reg {BEGUN} = 0, {IDLE} = 1, monitor_broken = 0;
  wire monitor_allowed = rst || ({allowed});
  assign monitor_taken = {VALID_IN.name} && monitor_allowed;
  assign monitor_legal = !monitor_broken && (!{VALID_IN.name} || monitor_allowed);
  always @(posedge clk) begin
    monitor_broken <= !monitor_legal;
    {IDLE} <= rst || !monitor_taken;
    if (rst) begin
      monitor_rest <= 0;
      {NUMBER} <= 0;
      {BEGUN} <= 0;
    end else if (monitor_taken) begin
      monitor_rest <= ({rules.pauses}) ? {idle} : {design.interval_cyc - 1};
      {NUMBER} <= ({rules.ends}) ? 0 : {NUMBER} + 1;
      {BEGUN} <= 1;
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
