"""A self-checking test bench in Verilog-2001, for Verilator (``--binary --timing``) and Icarus."""

from __future__ import annotations

from rtl.design import VALID_OUT, Design, Direction, Port
from rtl.emit.vectors import row_fields
from rtl.pace import pace_lines

__all__ = ["RESETS", "RUN_UP_CYC", "testbench"]

RESETS = 64
"""Resets before the run, each with other operations on their way."""
RUN_UP_CYC = 16
"""Cycles before each reset: what they leave behind, the reset has to remove."""

_TEXT = """\
// Self-checking test bench of {top}: reads {top}.mem, prints PASS or FAIL.
//
// A row of {top}.mem is one clock cycle: every port in the module's order,
// outputs as they must be LATENCY cycles later, and only where valid_out is 1.
// Before that, some rows run unchecked and are cut off by a reset, and the first rows
// behind it are checked; RESETS times, each time with other rows.
{pace}
//
// Ends with another status than 0 where something is wrong, a missing {top}.mem included.
//
//   $ verilator --binary --timing -Wno-fatal --top-module {top}_tb {sources}
//   $ ./obj_dir/V{top}_tb
//
//   $ iverilog -g2001 -o {top}_tb {sources} && vvp {top}_tb
//
// +{top}_rows=N runs the first N rows only; +together leaves ending the simulation
// to others, so that several test benches can run in one.

/* verilator lint_off DECLFILENAME */
/* verilator lint_off STMTDLY */

`timescale 1ns / 1ps

module {top}_tb;
  parameter ROWS = {rows};
  localparam LATENCY = {latency};
  localparam RESETS = {resets};
  localparam RUN_UP = {run_up};
  localparam HEAD = LATENCY + 2;

  reg [{row_high}:0] rows[0:ROWS-1];
  reg [{row_high}:0] given;
  reg [{row_high}:0] wanted;
  reg clk;
  reg rst;
{declarations}
  integer count;
  integer cycle;
  integer round;
  integer checked;
  integer failures;

  {top} dut (
    .clk(clk),
    .rst(rst),
{connections}
  );

  task drive;
    input integer index;
    begin
      given = index < count ? rows[index] : {row_bits}'d0;
{assignments}
    end
  endtask

  task tick;
    begin
      #5 clk = 1'b1;
      #5 clk = 1'b0;
    end
  endtask

  // One cycle of reset, whatever stands at the inputs.
  task interrupt;
    begin
      rst = 1'b1;
      tick;
      check(-1);
      rst = 1'b0;
    end
  endtask

  task check;
    input integer index;
    reg wrong;
    begin
      wanted = index >= 0 && index < count ? rows[index] : {row_bits}'d0;
      wrong = valid_out !== wanted[{valid_low}];
      if (wanted[{valid_low}]) begin
        checked = checked + 1;
{comparisons}
      end
      if (wrong) begin
        failures = failures + 1;
        if (failures <= 10) begin
          $display("{top}, row %0d", index);
          $display("  valid_out is %b, must be %b", valid_out, wanted[{valid_low}]);
{reports}
        end
      end
    end
  endtask

  initial begin
    if (!$value$plusargs("{top}_rows=%d", count)) count = ROWS;
    if (count < 1 || count > ROWS) begin
      $display("FAIL: {top}, there are 1 to %0d rows, not %0d", ROWS, count);
      $fatal(1);
    end
    // A row that is not read keeps what stood there, once ones and once zeros, in two states too.
    rows[0] = {{{row_bits}{{1'b1}}}};
    rows[count-1] = {{{row_bits}{{1'b1}}}};
    $readmemh("{top}.mem", rows);
    given = rows[0];
    wanted = rows[count-1];
    rows[0] = {row_bits}'d0;
    rows[count-1] = {row_bits}'d0;
    $readmemh("{top}.mem", rows);
    if (given !== rows[0] || wanted !== rows[count-1]) begin
      $display("FAIL: {top}, {top}.mem is missing or has less than %0d rows", count);
      $fatal(1);
    end
    clk = 1'b0;
    checked = 0;
    failures = 0;
    rst = 1'b1;
    drive(count);
    tick;
    rst = 1'b0;
    for (round = 0; round < RESETS; round = round + 1) begin
      for (cycle = 0; cycle < RUN_UP; cycle = cycle + 1) begin
        drive((round * RUN_UP + cycle) % count);
        valid_in = 1'b1;
        tick;
      end
      interrupt;
      for (cycle = 0; cycle < HEAD + LATENCY - 1; cycle = cycle + 1) begin
        drive(cycle < HEAD ? cycle : count);
        tick;
        check(cycle - LATENCY + 1 < HEAD ? cycle - LATENCY + 1 : -1);
      end
    end
    interrupt;
    checked = 0;
    for (cycle = 0; cycle < count + LATENCY - 1; cycle = cycle + 1) begin
      drive(cycle);
      tick;
      check(cycle - LATENCY + 1);
    end
    if (failures == 0 && checked > 0)
      $display("PASS: {top}, %0d results in %0d cycles", checked, count);
    else begin
      $display("FAIL: {top}, %0d wrong of %0d results in %0d cycles", failures, checked, count);
      if (!$test$plusargs("together")) $fatal(1);
    end
    if (!$test$plusargs("together")) $finish;
  end
endmodule
"""


def testbench(design: Design, rows: int) -> str:
    """Test bench of the design for `rows` rows of vectors."""
    fields = row_fields(design)
    low = {field.port.name: field.low for field in fields}
    bits = fields[0].low + 4 * fields[0].digits
    inputs = [port for port in design.ports if port.direction is Direction.IN]
    return _TEXT.format(
        top=design.name,
        sources=f"{design.name}_tb.v {design.name}.v"
        + (f" {design.name}_cells.v" if design.cells else ""),
        rows=rows,
        latency=design.latency_cyc,
        resets=RESETS,
        run_up=RUN_UP_CYC,
        row_bits=bits,
        row_high=bits - 1,
        valid_low=low[VALID_OUT.name],
        pace="\n".join(f"// {line}" for line in pace_lines(design.interval_cyc, design.pause)),
        declarations="\n".join(_declaration(port) for port in design.ports),
        connections=",\n".join(f"    .{port.name}({port.name})" for port in design.ports),
        assignments="\n".join(
            f"      {port.name} = {_part('given', port, low[port.name])};" for port in inputs
        ),
        comparisons="\n".join(
            f"        if ({port.name} !== {_part('wanted', port, low[port.name])}) wrong = 1'b1;"
            for port in design.outputs
        ),
        reports="\n".join(_report(port, low[port.name]) for port in design.outputs),
    )


def _declaration(port: Port) -> str:
    kind = "reg " if port.direction is Direction.IN else "wire"
    size = f"[{port.width - 1}:0] " if port.width > 1 else ""
    return f"  {kind} {size}{port.name};"


def _part(row: str, port: Port, low: int) -> str:
    return f"{row}[{low + port.width - 1}:{low}]" if port.width > 1 else f"{row}[{low}]"


def _report(port: Port, low: int) -> str:
    part = _part("wanted", port, low)
    return f'          $display("  {port.name} is %h, must be %h", {port.name}, {part});'
