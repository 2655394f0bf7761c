"""What is unknown at the inputs of an idle cycle, or in a register at power-up, stays nowhere.

Icarus has four states: X at a data input while ``valid_in`` is 0, and in every register and memory
before the reset, must never reach a result. One cycle of reset has to be enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asq_hw.network.activation import AdapterStage
from asq_hw.numbers.encoding import Encoding
from rtl.design import VALID_IN, VALID_OUT, Design, Direction
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog, whole_verilog
from rtl.mac.codes import Codes
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import Clear, MacScheme, Signs, Style
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.requantizer import Requantizer
from rtl.tools import (
    MissingToolError,
    find_iverilog,
    find_yosys,
    run_iverilog,
    run_tool,
    run_yosys,
)
from tests.helpers.hardware import PlainMac


def missing() -> str:
    """Which tool is missing and how to get it; empty where all are there."""
    for find in (find_yosys, find_iverilog):
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

WITHOUT_INITIAL_VALUES = """
read_verilog unit.v
hierarchy -check -top {top}
proc
setattr -unset init w:*
delete t:$meminit t:$meminit_v2
memory_collect
write_verilog -noattr {top}.v
"""

BENCH = """\
`timescale 1ns / 1ps
module {top}_tb;
  reg [{high}:0] rows[0:{last}];
  reg [{high}:0] row;
  reg clk = 1'b0;
  reg rst = 1'b1;
  integer cycle;
  integer wrong = 0;
  integer checked = 0;
{declarations}
  {top} dut (.clk(clk), .rst(rst), {connections});
  initial begin
    $readmemb("{top}.mem", rows);
    #5 clk = 1'b1;
    #5 clk = 1'b0;
    rst = 1'b0;
    for (cycle = 0; cycle <= {last}; cycle = cycle + 1) begin
      {{{inputs}}} = rows[cycle];
      #5 clk = 1'b1;
      #5 clk = 1'b0;
      if (cycle >= {latency} - 1) begin
        row = rows[cycle - {latency} + 1];
        {{{inputs_wanted}, {wanted}}} = row;
        if (valid_out !== valid_out_wanted) wrong = wrong + 1;
        if (valid_out_wanted) begin
          checked = checked + 1;
          if ({{{outputs}}} !== {{{outputs_wanted}}}) wrong = wrong + 1;
        end
      end
    end
    $display("{top}: %0d wrong, checked %0d", wrong, checked);
    $finish;
  end
endmodule
"""


def bench(design: Design, rows: int) -> str:
    """Test bench that starts with X everywhere, resets for one cycle, and runs the rows."""
    ports = [*(p for p in design.ports if p.direction is Direction.IN), VALID_OUT, *design.outputs]
    inputs = [p.name for p in ports if p.direction is Direction.IN]
    outputs = [p.name for p in design.outputs]
    widths = {p.name: p.width for p in ports}
    declared = [
        f"  {'reg' if name in inputs else 'wire'} [{width - 1}:0] {name};\n"
        f"  reg [{width - 1}:0] {name}_wanted;"
        for name, width in widths.items()
    ]
    rest = sum(widths[name] for name in (VALID_OUT.name, *outputs))
    wanted = [f"{name}_wanted" for name in (VALID_OUT.name, *outputs)]
    return BENCH.format(
        top=design.name,
        high=sum(widths.values()) - 1,
        last=rows - 1,
        latency=design.latency_cyc,
        declarations="\n".join(declared) + f"\n  reg [{rest - 1}:0] unread;",
        connections=", ".join(f".{name}({name})" for name in widths),
        inputs=", ".join([*inputs, "unread"]),
        inputs_wanted=", ".join(f"{name}_wanted" for name in inputs),
        wanted=", ".join(wanted),
        outputs=", ".join(outputs),
        outputs_wanted=", ".join(f"{name}_wanted" for name in outputs),
    )


def memory(vectors: Vectors) -> str:
    """A row of bits for each cycle: inputs, X where `valid_in` is 0; what must come out."""
    design, columns = vectors.design, vectors.columns
    lines = []
    for cycle in [*range(vectors.cycles), *[-1] * design.latency_cyc]:
        idle = cycle < 0 or not columns[VALID_IN.name][cycle]
        bits = []
        for port in design.ports:
            if port.direction is Direction.IN:
                if port == VALID_IN:
                    bits.append("0" if idle else "1")
                elif idle:
                    bits.append("x" * port.width)
                else:
                    bits.append(_bits(int(columns[port.name][cycle]), port.width))
        for port in (VALID_OUT, *design.outputs):
            value = 0 if cycle < 0 else int(columns[port.name][cycle])
            bits.append(_bits(value, port.width))
        lines.append("".join(bits))
    return "\n".join(lines) + "\n"


def _bits(value: int, width: int) -> str:
    return f"{value & ((1 << width) - 1):0{width}b}"


def run(design: Design, folder: Path, verilog: str | None = None, operations: int = 200) -> str:
    """What the test bench says of the design, its initial values taken away."""
    text = whole_verilog(design) if verilog is None else verilog
    (folder / "unit.v").write_text(text, encoding="utf-8")
    run_yosys(WITHOUT_INITIAL_VALUES.format(top=design.name), folder=folder)
    assert "initial" not in (folder / f"{design.name}.v").read_text(encoding="utf-8")
    vectors = Vectors.random(design, operations)
    rows = memory(vectors)
    (folder / f"{design.name}.mem").write_text(rows, encoding="ascii")
    (folder / "tb.v").write_text(bench(design, rows.count("\n")), encoding="utf-8")
    run_iverilog(["-g2001", "-o", "tb", "tb.v", f"{design.name}.v"], folder=folder)
    return run_tool([find_iverilog()[1], "tb"], folder=folder, timeout_s=120)


def forms(scheme: MacScheme) -> Sequence[Mac]:
    """Every style, code, kind of sums and signs, the pipeline short or, cleared ahead, long."""
    plain = Mac(scheme=scheme, weight_bits=3, activation_bits=3, accumulator_bits=12)
    whole = [
        mac
        for signs in Signs
        for mac in replace(plain, signs=signs).variants()
        if mac.segments == 1
    ]
    chosen: dict[tuple[object, ...], Mac] = {}
    for mac in whole:
        if mac.clear is Clear.IDLE and mac.style not in (scheme.styles[0], Style.STAGED):
            continue  # the product is made as with the other ways to clear
        if mac.defers and mac.clear is not Clear.AHEAD:
            continue  # the same
        key = (mac.style, mac.codes, mac.accumulation, mac.clear, mac.signs)
        chosen[key] = mac if mac.clear is Clear.AHEAD else chosen.get(key, mac)
    has_zero_free = Encoding.ZERO_FREE in scheme.grid_scheme.encodings
    other = Mac(
        scheme=scheme,
        weight_bits=3,
        activation_signed=True,
        encoding=Encoding.ZERO_FREE if has_zero_free else Encoding.PACKED,
        accumulator_bits=14,
        segments=3,
    )
    return [*chosen.values(), other]


STAGE = AdapterStage(
    weight=np.array([[30, -20, 100]]),
    bias=np.array([5000]),
    multiplier=777,
    shift=12,
    minimum=3,
    maximum=60000,
)
OTHERS: tuple[Design, ...] = (
    *(
        kind(bits=3, signed=signed, feature_bits=8, step_fraction_bits=2)
        for kind in (LadderQuantizer, ReciprocalQuantizer)
        for signed in (False, True)
    ),
    Requantizer(value_bits=12),
    Requantizer(value_bits=12, pair=True),
    PoolingAccumulator(feature_bits=8, elements=5, multiplier=1337),
    Adapter(stages=(STAGE,)),
    *(
        DotProduct(mac=mac, lanes=3)
        for mac in (
            *(Mac(scheme=one, weight_bits=3, accumulator_bits=12) for one in MacScheme),
            *(
                Mac(scheme="uniform", weight_bits=3, codes=codes, signs="deferred")
                for codes in (Codes.STORED, Codes.INVERTED, Codes.SIGN_MAGNITUDE)
            ),
        )
    ),
)


@pytest.mark.parametrize("scheme", MacScheme)
def test_no_sum_of_any_form_takes_what_is_unknown(scheme: MacScheme, tmp_path: Path) -> None:
    said = {mac.name: run(mac, tmp_path) for mac in forms(scheme)}
    assert {name: text for name, text in said.items() if ": 0 wrong, checked 200" not in text} == {}


@pytest.mark.parametrize("design", OTHERS, ids=lambda design: design.name)
def test_no_unit_keeps_what_is_unknown(design: Design, tmp_path: Path) -> None:
    said = run(design, tmp_path)
    assert f"{design.name}: 0 wrong, checked " in said
    assert "checked 0" not in said


def test_a_unit_that_sums_in_idle_cycles_is_noticed(tmp_path: Path) -> None:
    design = PlainMac()
    text = to_verilog(design)
    assert ": 0 wrong, checked 200" in run(design, tmp_path, text)
    # The product is made of whatever stands there; that its sum is not taken is all that helps.
    broken = text.replace("valid <= valid_in", "valid <= 1'b1")
    assert broken != text
    assert ": 0 wrong" not in run(design, tmp_path, broken)
