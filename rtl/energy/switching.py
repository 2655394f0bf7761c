"""Switched energy: a mapped netlist at work in a timed simulation, net by net.

Cells have the delays of their library, so that what changes several times in a cycle counts as
often. Every output is compared with the software model meanwhile.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil

from rtl.design import Design, Direction
from rtl.emit.vectors import Vectors, row_fields
from rtl.energy.changes import count_changes
from rtl.energy.flow import Flow
from rtl.energy.netlist import Netlist
from rtl.tools import ToolError, find_iverilog, plain_folder, read_json, run_tool, run_yosys

__all__ = ["Switched", "switch"]

_TIMEOUT_S = 1200
_PERIOD = 100
"""Of the clock, in ns: longer than any path, so that all comes to rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What switched while a design took its operations.

    Parameters
    ----------
    operations : int
        That it took.
    changes : int
        Of the nets that count, the clock not among them.
    logic_pj, clock_pj : float or None
        ``1/2 C V**2`` for each change of a net, C being the pins that it drives: of all nets but
        the clock, and of the clock. None where capacitances are not known.
    """

    operations: int
    changes: int
    logic_pj: float | None = None
    clock_pj: float | None = None


def switch(design: Design, flow: Flow, vectors: Vectors) -> Switched:
    """Map a design, let it work, and add up what switches.

    Parameters
    ----------
    design : Design
        What is mapped.
    flow : Flow
        To what cells.
    vectors : Vectors
        Its work; what stands at the inputs in idle cycles counts, too.

    Raises
    ------
    MissingToolError
        If Yosys or Icarus Verilog is not installed.
    ToolError
        If one of them fails, or the netlist gives a wrong result.
    """
    find_iverilog()
    with tempfile.TemporaryDirectory(prefix="asq-hw-", dir=plain_folder()) as name:
        folder = Path(name)
        try:
            netlist = _map(design, flow, folder)
            _simulate(design, flow, vectors, folder)
        except ToolError as error:
            raise ToolError(f"{design.name}: {error}", error.log) from None
        changes = count_changes((folder / "changes.vcd").read_bytes(), netlist.nets)
    return _added(netlist, flow, changes, vectors.operations)


def _added(netlist: Netlist, flow: Flow, changes: Mapping[int, int], operations: int) -> Switched:
    (clock,) = netlist.nets["clk"]
    counted = sum(
        times
        for net, times in changes.items()
        if net != clock and net in netlist.driven_by and flow.counts(netlist.driven_by[net])
    )
    pins, voltage = flow.capacitance_pf, flow.voltage
    if pins is None or voltage is None:
        return Switched(operations=operations, changes=counted)
    energy = {
        net: times * netlist.load(net, pins.__getitem__) * voltage**2 / 2
        for net, times in changes.items()
    }
    on_clock = energy.pop(int(clock), 0.0)
    return Switched(
        operations=operations,
        changes=counted,
        logic_pj=sum(energy.values()),
        clock_pj=on_clock,
    )


def _map(design: Design, flow: Flow, folder: Path) -> Netlist:
    text = rtlil.convert(design.component(), name=design.name, emit_src=False)
    for name, content in {"design.il": text, **(flow.files or {})}.items():
        (folder / name).write_text(content, encoding="utf-8")
    lines = [
        "read_rtlil design.il",
        *flow.map(design.name),
        "delete t:$scopeinfo",
        "splitnets",
        "opt_clean -purge",
        # Names that mean nothing would be made up anew by each writer.
        "rename -enumerate -pattern net%_",
        "write_json netlist.json",
        "write_verilog -noattr -noexpr netlist.v",
    ]
    run_yosys("\n".join(lines) + "\n", folder=folder, timeout_s=_TIMEOUT_S)
    return Netlist.of(read_json(folder / "netlist.json", "Yosys"), design.name)


def _simulate(design: Design, flow: Flow, vectors: Vectors, folder: Path) -> None:
    with (folder / "rows.mem").open("w", encoding="ascii") as file:
        file.writelines(vectors.lines())
    bench = _bench(design, flow, vectors.cycles)
    (folder / "bench.v").write_text(bench, encoding="ascii")
    (folder / "models.v").write_text(flow.models, encoding="utf-8")
    compiler, runtime = find_iverilog()
    defines = [f"-D{name}" for name in flow.defines]
    options = ["-g2012", "-gspecify", *defines, "-s", "bench", "-o", "bench"]
    run_tool([compiler, *options, "bench.v", "models.v"], folder=folder, timeout_s=_TIMEOUT_S)
    said = run_tool([runtime, "bench"], folder=folder, timeout_s=_TIMEOUT_S)
    found = re.search(r"^wrong (\d+) of (\d+)$", said, re.MULTILINE)
    if found is None:
        raise ToolError("the netlist's simulation did not come to its end", said)
    wrong, checked = map(int, found.groups())
    if wrong or checked != vectors.checked:
        raise ToolError(f"the netlist gave {wrong} wrong of {checked} results", said)


def _bench(design: Design, flow: Flow, cycles: int) -> str:
    fields = row_fields(design)
    bits = fields[0].low + 4 * fields[0].digits
    period = _PERIOD if flow.unit == "1ns" else 1000 * _PERIOD
    latency = design.latency_cyc
    declared, connected, expected = [], [".clk(clk)", ".rst(rst)"], []
    for field in fields:
        port = field.port
        place = f"[{field.low} +: {port.width}]"
        if port.direction is Direction.IN:
            connected.append(f".{port.name}(row{place})")
            continue
        declared.append(f"  wire [{port.width - 1}:0] {port.name};")
        connected.append(f".{port.name}({port.name})")
        if port.name != "valid_out":
            expected.append(f"{port.name} !== answer{place}")
        else:
            valid = f"answer[{field.low}]"
    return f"""`timescale {flow.unit}/1ps
`include "netlist.v"
module bench;
  reg clk = 0, rst = 1;
  reg [{bits - 1}:0] rows [0:{cycles - 1}];
  reg [{bits - 1}:0] row = 0, answer;
  integer i, wrong = 0, checked = 0;
{chr(10).join(declared)}
  {design.name} unit ({", ".join(connected)});
  task tick;
    begin
      #{period // 2} clk = 1;
      #{period // 2} clk = 0;
    end
  endtask
  initial begin
    $readmemh("rows.mem", rows);
    for (i = 0; i < {2 * latency + 4}; i = i + 1) tick;
    rst = 0;
    for (i = 0; i < {2 * latency + 4}; i = i + 1) tick;
    $dumpfile("changes.vcd");
    $dumpvars(1, unit);
    for (i = 0; i < {cycles + latency}; i = i + 1) begin
      row = 0;
      if (i < {cycles}) row = rows[i];
      answer = 0;
      if (i >= {latency}) answer = rows[i - {latency}];
      if (valid_out !== {valid}) wrong = wrong + 1;
      if ({valid}) begin
        checked = checked + 1;
        if ({" || ".join(expected)}) wrong = wrong + 1;
      end
      tick;
    end
    $display("wrong %0d of %0d", wrong, checked);
    $finish;
  end
endmodule
"""
