"""A test bench that goes through all dot products of a layer: weights once, then map after map.

The emitted test bench reads a row for each cycle. Here a weight is read again for each place of the
output, and an activation for each channel, so that all sums of many images can be gone through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtl.design import Design, Port
from rtl.emit.vectors import Field, fields_of
from rtl.emit.verilog import cell_models, to_verilog
from rtl.mac.dot_product import DotProduct
from rtl.tools import ToolError, run_tool
from rtl.verify.simulators import BenchResult, Simulator, compiled, verdicts

__all__ = ["SumsBench", "Work"]

Integers = NDArray[np.int64]

_RUN_TIMEOUT_S = 3600
_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_PARTS = ("activations", "weights", "sums")

_TEXT = """\
`timescale 1ns / 1ps
module {top}_sums;
  localparam LATENCY = {latency};
  reg [{activations_high}:0] activations[0:{activation_rows}];
  reg [{weights_high}:0] weights[0:{weight_rows}];
  reg [{sums_high}:0] sums[0:{sum_rows}];
  reg [{activations_high}:0] activation_row;
  reg [{weights_high}:0] weight_row;
  reg [{sums_high}:0] wanted;
  reg clk;
  reg rst;
  reg valid_in;
  reg last;
  wire valid_out;
{wires}
  integer count, sample, channel, place, part, base, cycle, checked, failures;

  {top} dut (
    .clk(clk), .rst(rst), .valid_in(valid_in), .last(last), .valid_out(valid_out),
{connections}
  );

  task tick;
    begin
      #5 clk = 1'b1;
      #5 clk = 1'b0;
      if (valid_out !== 1'b0) begin
        wanted = sums[checked < count * {sums_each} ? checked : count * {sums_each}];
        if ({differs}) begin
          failures = failures + 1;
          if (failures == 1) $display("{top}, sum %0d is wrong", checked);
        end
        checked = checked + 1;
      end
    end
  endtask

  initial begin
    if (!$value$plusargs("samples=%d", count)) $fatal(1);
    $readmemh("activations.mem", activations);
    $readmemh("weights.mem", weights);
    $readmemh("sums.mem", sums);
    // The row behind the last one is all ones: what came before has been read.
    if (activations[count * {rows_each}] !== {{{activations_bits}{{1'b1}}}}
        || weights[{weight_rows}] !== {{{weights_bits}{{1'b1}}}}
        || sums[count * {sums_each}] !== {{{sums_bits}{{1'b1}}}}) begin
      $display("FAIL: {top}, a memory is cut short");
      $fatal(1);
    end
    clk = 1'b0;
    checked = 0;
    failures = 0;
    valid_in = 1'b0;
    last = 1'b0;
    activation_row = activations[0];
    weight_row = weights[0];
    rst = 1'b1;
    #5 clk = 1'b1;
    #5 clk = 1'b0;
    rst = 1'b0;
    for (sample = 0; sample < count; sample = sample + 1)
      for (channel = 0; channel < {channels}; channel = channel + 1)
        for (place = 0; place < {places}; place = place + 1) begin
          base = ((sample * {groups} + channel / {channels_each}) * {places} + place) * {parts};
          for (part = 0; part < {parts}; part = part + 1) begin
            activation_row = activations[base + part];
            weight_row = weights[channel * {parts} + part];
            valid_in = 1'b1;
            last = part == {parts} - 1;
            tick;
          end
        end
    valid_in = 1'b0;
    for (cycle = 0; cycle < LATENCY + 8; cycle = cycle + 1) tick;
    if (failures == 0 && checked == count * {sums_each})
      $display("PASS: {top}, %0d sums", checked);
    else
      $display("FAIL: {top}, %0d wrong of %0d sums, %0d came", failures,
        count * {sums_each}, checked);
    $finish;
  end
endmodule
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """The dot products of a layer, in parts of as many products as a unit has lanes.

    Attributes
    ----------
    operands : dict of int64 (N, G, P, parts, lanes) arrays
        By port of the multiply-accumulate unit: an activation's codes, of each sample, group and
        place of the output.
    weights : int64 (O, parts, lanes)
        Codes of each channel's weights, as they stand at the ports.
    sums : dict of int64 (N, O, P) arrays
        By output port: what must come out.
    """

    operands: Mapping[str, Integers]
    weights: Integers
    sums: Mapping[str, Integers]

    @property
    def samples(self) -> int:
        """How many."""
        return len(next(iter(self.sums.values())))


class SumsBench:
    """The test bench of one unit, for work of one shape.

    Parameters
    ----------
    design : DotProduct
        The unit.
    work : Work
        With as many samples as any that will be run.
    folder : Path
        A folder to work in.
    simulator : Simulator
        What runs it.
    """

    def __init__(
        self,
        design: DotProduct,
        work: Work,
        folder: Path,
        *,
        simulator: Simulator = Simulator.VERILATOR,
    ) -> None:
        self._design, self._folder = design, folder
        self._fields = dict(zip(_PARTS, _fields(design), strict=True))
        files = {f"{design.name}_sums.v": self._text(work), f"{design.name}.v": to_verilog(design)}
        if design.cells:
            files[f"{design.cells}_cells.v"] = cell_models(design)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        cycles = work.samples * work.weights[..., 0].size * _places(work)
        self._command = compiled(
            simulator, f"{design.name}_sums", list(files), folder, most_cycles=cycles
        )

    def run(self, work: Work) -> BenchResult:
        """Run it; one that says nothing, whatever the reason, has not passed."""
        lanes = range(self._design.lanes)
        columns = {
            f"{name}{lane}": codes[..., lane].reshape(-1)
            for name, codes in (*work.operands.items(), ("weight", work.weights))
            for lane in lanes
        }
        columns |= {name: sums.reshape(-1) for name, sums in work.sums.items()}
        for name, fields in self._fields.items():
            (self._folder / f"{name}.mem").write_bytes(_memory(fields, columns))
        command = [*self._command, f"+samples={work.samples}"]
        try:
            log = run_tool(command, folder=self._folder, timeout_s=_RUN_TIMEOUT_S)
        except ToolError as error:
            log = error.log
        silent = BenchResult(passed=False, verdict="no verdict", log=log)
        return verdicts(log).get(self._design.name, silent)

    def _text(self, work: Work) -> str:
        design = self._design
        channels, parts, _ = work.weights.shape
        groups = next(iter(work.operands.values())).shape[1]
        places = _places(work)
        sizes: dict[str, int] = {}
        for name, fields in self._fields.items():
            sizes[f"{name}_bits"] = _bits(fields)
            sizes[f"{name}_high"] = sizes[f"{name}_bits"] - 1
        rows = dict(zip(_PARTS, ("activation_row", "weight_row", "wanted"), strict=True))
        slices = {
            field.port.name: _slice(rows[part], field)
            for part, made in self._fields.items()
            for field in made
        }
        inputs = [port.name for port in design.inputs if port.name != "last"]
        outputs = [port.name for port in design.outputs]
        connections = [f"    .{name}({slices[name]})" for name in inputs]
        connections += [f"    .{name}({name})" for name in outputs]
        return _TEXT.format(
            top=design.name,
            latency=design.latency_cyc,
            channels=channels,
            channels_each=channels // groups,
            groups=groups,
            places=places,
            parts=parts,
            rows_each=groups * places * parts,
            sums_each=channels * places,
            activation_rows=work.samples * groups * places * parts,
            weight_rows=channels * parts,
            sum_rows=work.samples * channels * places,
            wires="\n".join(f"  wire [{p.width - 1}:0] {p.name};" for p in design.outputs),
            connections=",\n".join(connections),
            differs=" || ".join(f"{name} !== {slices[name]}" for name in outputs),
            **sizes,
        )


def _places(work: Work) -> int:
    return int(next(iter(work.sums.values())).shape[2])


def _fields(design: Design) -> tuple[tuple[Field, ...], ...]:
    """Fields of a row of activations, of weights and of sums."""
    weights = [port for port in design.inputs if port.name.startswith("weight")]
    others = [port for port in design.inputs if port not in weights and port.name != "last"]
    parts: Sequence[Sequence[Port]] = (others, weights, design.outputs)
    return tuple(fields_of(ports) for ports in parts)


def _bits(fields: Sequence[Field]) -> int:
    return fields[0].low + 4 * fields[0].digits


def _slice(row: str, field: Field) -> str:
    return f"{row}[{field.low + field.port.width - 1}:{field.low}]"


def _memory(fields: Sequence[Field], columns: Mapping[str, Integers]) -> bytes:
    """Rows of hexadecimal digits, and behind them one of ones."""
    rows = len(columns[fields[0].port.name])
    digits = sum(field.digits for field in fields)
    text = np.full((rows + 1, digits + 1), _DIGITS[15], dtype=np.uint8)
    text[:, -1] = ord("\n")
    place = 0
    for field in fields:
        values = columns[field.port.name] & ((1 << field.port.width) - 1)
        for digit in reversed(range(field.digits)):
            text[:-1, place] = _DIGITS[values >> 4 * digit & 15]
            place += 1
    return text.tobytes()
