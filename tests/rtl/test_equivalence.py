"""What the comparison of two circuits proves and refutes, on circuits whose difference is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from rtl.design import Design, Direction
from rtl.emit.verilog import to_verilog
from rtl.mac.design import Mac
from rtl.mac.schemes import MacScheme, Style
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.tools import (
    MissingToolError,
    ToolError,
    ToolTimeoutError,
    find_abc,
    find_yosys,
    run_yosys,
)
from rtl.verify.equivalence import compare, to_gates
from rtl.verify.proofs import Answer
from tests.helpers.hardware import PlainMac


def missing() -> str:
    """Which tool is missing and how to get it; empty where both are there."""
    for find in (find_yosys, find_abc):
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

MAC = PlainMac(weight_bits=2, activation_bits=2, accumulator_bits=5)
SERIAL = Mac(
    scheme=MacScheme.UNIFORM,
    style=Style.SERIAL,
    weight_bits=2,
    activation_bits=2,
    accumulator_bits=6,
)
POT = Mac(scheme=MacScheme.POT, weight_bits=3, activation_bits=2, accumulator_bits=8)
LADDER = LadderQuantizer(bits=2, feature_bits=4)
POOLING = PoolingAccumulator(feature_bits=4, elements=3)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A copy of a unit that is different from the cycle on in which `when` was true once.

    `when` is Verilog of the unit's inputs, ``rst`` and what `more` declares. From then on each
    output is `result` of the unit's own, ``inner``, which was `before` of it until then, and
    ``valid_out`` is `valid` of ``inner_valid``.
    """

    when: str
    more: str = ""
    before: str = "inner"
    result: str = "~inner"
    valid: str = "inner_valid"

    def verilog(self, design: Design) -> str:
        """A module ``changed`` around the unit."""
        (output,) = design.outputs
        inputs = [port for port in design.ports if port.direction is Direction.IN]
        ports = ", ".join(f"input [{port.width - 1}:0] {port.name}" for port in inputs)
        shared = ", ".join(f".{port.name}({port.name})" for port in inputs)
        word = f"[{output.width - 1}:0]"
        return f"""\
module changed(input clk, input rst, {ports}, output valid_out, output {word} {output.name});
  wire inner_valid;
  wire {word} inner;
  {design.name} unit (.clk(clk), .rst(rst), {shared},
    .valid_out(inner_valid), .{output.name}(inner));
  {self.more}
  reg seen = 0;
  always @(posedge clk) seen <= seen || ({self.when});
  assign valid_out = seen ? ({self.valid}) : inner_valid;
  assign {output.name} = seen ? ({self.result}) : ({self.before});
endmodule
"""


def answer(design: Design, change: Change | None, folder: Path) -> Answer:
    """What the comparison says of a unit and its changed copy, or of the unit and itself."""
    text = to_verilog(design)
    sides = {"original": (design.name, text)}
    sides["changed"] = sides["original"]
    if change is not None:
        sides["changed"] = ("changed", text + change.verilog(design))
    for name, (top, verilog) in sides.items():
        (folder / "unit.v").write_text(verilog, encoding="utf-8")
        run_yosys(
            f"read_verilog unit.v\nhierarchy -check -top {top}\nproc\nflatten\nopt_clean\n"
            f"rename {top} {name}\nwrite_verilog -noattr {name}.v\n",
            folder=folder,
        )
        to_gates(name, folder=folder)
    return compare(design, "original", "changed", folder=folder)


@pytest.mark.parametrize("design", [MAC, SERIAL, POT, LADDER, POOLING], ids=lambda d: d.name)
def test_a_unit_is_itself(design: Design, tmp_path: Path) -> None:
    assert answer(design, None, tmp_path) is Answer.PROVEN


OPERATION = "valid_in && !rst"
COUNTS = """
  reg [7:0] rest = 0, number = 0;
  reg loaded = 0;
  always @(posedge clk)
    if (rst) begin rest <= 0; number <= 0; loaded <= 0; end
    else begin
      rest <= valid_in ? IDLE : rest == 0 ? 0 : rest - 1;
      if (valid_in) number <= LAST ? 0 : number + 1;
      loaded <= loaded || valid_in && LOAD;
    end
"""


def counts(*, idle: str = "0", last: str = "0", load: str = "0") -> str:
    """Registers of a change that follow the operations from the last reset on.

    ``rest`` idle cycles are still to come; ``number`` operations came since one that was the
    `last`; a `load` was ``loaded``.
    """
    return COUNTS.replace("IDLE", idle).replace("LAST", last).replace("LOAD", load)


assert LADDER.pause is not None
PAUSE = counts(idle=f"load ? {LADDER.pause.idle_cyc} : 0")
TOLD: dict[str, tuple[Design, Change]] = {
    "an operation": (MAC, Change(when=OPERATION)),
    "a second sum": (
        MAC,
        Change(when=f"{OPERATION} && start && number == 5", more=counts()),
    ),
    "a result that is gone": (MAC, Change(when=OPERATION, result="inner", valid="0")),
    "a result too many": (MAC, Change(when=OPERATION, result="inner", valid="1")),
    "two resets": (
        MAC,
        Change(
            when=f"{OPERATION} && resets == 2",
            more="reg [1:0] resets = 0;\n  always @(posedge clk) if (rst && resets != 2) "
            "resets <= resets + 1;",
        ),
    ),
    "operations as close as allowed": (
        SERIAL,
        Change(
            when=f"{OPERATION} && rest == 0 && number == 2",
            more=counts(idle=str(SERIAL.interval_cyc - 1)),
        ),
    ),
    "a level's code": (POT, Change(when=f"{OPERATION} && weight == 3")),
    "a feature right behind the pause": (
        LADDER,
        Change(when=f"{OPERATION} && !load && rest == 0 && number == 1", more=PAUSE),
    ),
    "the last of all elements": (
        POOLING,
        Change(when=f"{OPERATION} && last && number == 2", more=counts(last="last")),
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_legal_operations_show_is_refuted(case: str, tmp_path: Path) -> None:
    assert answer(*TOLD[case], tmp_path) is Answer.REFUTED


HIDDEN: dict[str, tuple[Design, Change]] = {
    "outputs while no result is valid": (
        MAC,
        Change(when="1", result="inner_valid ? inner : ~inner"),
    ),
    "before the first reset": (
        MAC,
        Change(
            when="0",
            more="reg reset_once = 0;\n  always @(posedge clk) if (rst) reset_once <= 1;",
            before="reset_once ? inner : ~inner",
        ),
    ),
    "operations that are too close": (
        SERIAL,
        Change(when=f"{OPERATION} && rest != 0", more=counts(idle=str(SERIAL.interval_cyc - 1))),
    ),
    "a code of no level": (POT, Change(when=f"{OPERATION} && weight == 4")),
    "a step of zero": (LADDER, Change(when=f"{OPERATION} && load && step == 0")),
    "a feature before the first step": (
        LADDER,
        Change(when=f"{OPERATION} && !load && !loaded", more=counts(load="load")),
    ),
    "a feature in the pause": (LADDER, Change(when=f"{OPERATION} && rest != 0", more=PAUSE)),
    "more elements than there are": (
        POOLING,
        Change(when=f"{OPERATION} && number == 3", more=counts(last="last")),
    ),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_legal_operations_hide_is_proven(case: str, tmp_path: Path) -> None:
    assert answer(*HIDDEN[case], tmp_path) is Answer.PROVEN


def test_an_abc_that_fails_is_no_answer_and_one_out_of_time_is_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "broken-abc"
    program.write_text("#!/bin/sh\nexit 3\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setattr("rtl.tools.find_abc", lambda: str(program))
    with pytest.raises(ToolError, match="^yosys-abc ended with status 3: it said nothing$"):
        answer(MAC, None, tmp_path)

    def late(*_: object, **__: object) -> str:
        raise ToolTimeoutError("yosys-abc took longer than 120 s")

    monkeypatch.setattr("rtl.verify.equivalence.run_abc", late)
    assert answer(MAC, None, tmp_path) is Answer.UNKNOWN
