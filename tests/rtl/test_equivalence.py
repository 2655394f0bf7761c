"""What the comparison of two circuits proves and refutes, on circuits whose difference is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from asq_hw.network.activation import AdapterStage
from rtl.design import Design, Direction
from rtl.emit.verilog import to_verilog
from rtl.mac.design import Mac
from rtl.mac.schemes import MacScheme, Style
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.tools import (
    MissingToolError,
    ToolError,
    ToolTimeoutError,
    find_abc,
    find_yosys,
)
from rtl.verify.equivalence import Comparison, to_gates
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


ADAPTER = Adapter(
    stages=(
        AdapterStage(
            weight=np.array([[1, 2], [-1, 1]]),
            bias=np.array([1, 0]),
            multiplier=1,
            shift=0,
            minimum=0,
            maximum=3,
        ),
        AdapterStage(
            weight=np.array([[1, 1]]),
            bias=np.array([1]),
            multiplier=1,
            shift=0,
            minimum=1,
            maximum=3,
        ),
    ),
    mean_bits=2,
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change to a unit's results from the cycle on in which `when` was true once.

    It is so if it is ``on``. `when` is Verilog of the unit's inputs, ``rst`` and what `more`
    declares. From then on each output is `result` of the unit's own, ``inner``, which was `before`
    of it until then, and ``valid_out`` is `valid` of ``inner_valid``.
    """

    when: str
    more: str = ""
    before: str = "inner"
    result: str = "~inner"
    valid: str = "inner_valid"

    def verilog(self, design: Design, name: str) -> str:
        """A module that makes changed results of the unit's."""
        (output,) = design.outputs
        word = f"[{output.width - 1}:0]"
        return f"""\
module {name}(input clk, input rst, {_inputs(design)}, input on,
  input inner_valid, input {word} inner, output valid, output {word} result);
  {self.more}
  reg seen = 0;
  always @(posedge clk) seen <= seen || on && ({self.when});
  assign valid = seen ? ({self.valid}) : inner_valid;
  assign result = seen ? ({self.result}) : ({self.before});
endmodule
"""


def _inputs(design: Design) -> str:
    inputs = [port for port in design.ports if port.direction is Direction.IN]
    return ", ".join(f"input [{port.width - 1}:0] {port.name}" for port in inputs)


SELECT = ("chosen", 4)


def changed(design: Design, changes: Sequence[Change]) -> str:
    """A module ``changed`` around the unit, which number n makes changed by the n-th; 0 by none."""
    (output,) = design.outputs
    names = [port.name for port in design.ports if port.direction is Direction.IN]
    shared = ", ".join([".clk(clk), .rst(rst)", *(f".{name}({name})" for name in names)])
    word = f"[{output.width - 1}:0]"
    numbers = range(1, len(changes) + 1)
    wires = "".join(
        f"  wire valid{n}; wire {word} result{n};\n"
        f"  change{n} unit{n} ({shared}, .on({SELECT[0]} == {n}), "
        f".inner_valid(inner_valid), .inner(inner), .valid(valid{n}), .result(result{n}));\n"
        for n in numbers
    )
    ways = "".join(
        f"    {n}: {{valid_out, {output.name}}} = {{valid{n}, result{n}}};\n" for n in numbers
    )
    return f"""\
module changed(input clk, input rst, {_inputs(design)}, input [{SELECT[1] - 1}:0] {SELECT[0]},
  output reg valid_out, output reg {word} {output.name});
  wire inner_valid; wire {word} inner;
  {design.name} unit (.valid_out(inner_valid), .{output.name}(inner), {shared});
{wires}  always @* case ({SELECT[0]})
{ways}    default: {{valid_out, {output.name}}} = {{inner_valid, inner}};
  endcase
endmodule
""" + "".join(
        change.verilog(design, f"change{n}") for n, change in zip(numbers, changes, strict=True)
    )


def compared(design: Design, folder: Path) -> Comparison:
    """A unit beside every change of the tables below."""
    text = to_verilog(design) + changed(design, CHANGES[design])
    (folder / "changed.v").write_text(text, encoding="utf-8")
    to_gates("changed", folder=folder)
    return Comparison(design, "changed", select=SELECT, folder=folder)


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Design], Comparison]:
    """The comparison of each unit, made once."""
    return cache(lambda design: compared(design, tmp_path_factory.mktemp("compared")))


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
assert ADAPTER.pause is not None and ADAPTER.channels == 2
SAMPLES = (
    counts(idle=f"number == 1 ? {ADAPTER.pause.idle_cyc} : 0", last="number == 1")
    + """
  reg [7:0] ago = 0;
  wire ended = ago == IDLE + 1;
  always @(posedge clk) ago <= rst ? 0 : valid_in && number == 1 ? 1 : ago == 0 ? 0 : ago + 1;
""".replace("IDLE", str(ADAPTER.pause.idle_cyc))
)
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
    "a row of operations that hardly ever comes": (
        MAC,
        Change(
            when=f"{OPERATION} && number == 9",
            more=counts(last="!(start && weight == 2 && activation == 3)"),
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
    "a mean right behind the pause": (
        ADAPTER,
        Change(when=f"{OPERATION} && rest == 0 && ended", more=SAMPLES),
    ),
}


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
    "a mean in the pause": (ADAPTER, Change(when=f"{OPERATION} && rest != 0", more=SAMPLES)),
}


CHANGES = {
    design: [change for unit, change in (*TOLD.values(), *HIDDEN.values()) if unit == design]
    for design in (MAC, SERIAL, POT, LADDER, POOLING, ADAPTER)
}


@pytest.mark.parametrize("design", CHANGES, ids=lambda d: d.name)
def test_a_unit_is_itself(design: Design, comparisons: Callable[[Design], Comparison]) -> None:
    """Also by a number that selects nothing else."""
    assert comparisons(design).answer(0) is Answer.PROVEN
    assert comparisons(design).answer(15) is Answer.PROVEN


@pytest.mark.parametrize("case", TOLD)
def test_what_legal_operations_show_is_refuted(
    case: str, comparisons: Callable[[Design], Comparison]
) -> None:
    design, change = TOLD[case]
    assert comparisons(design).answer(1 + CHANGES[design].index(change)) is Answer.REFUTED


@pytest.mark.parametrize("case", HIDDEN)
def test_what_legal_operations_hide_is_proven(
    case: str, comparisons: Callable[[Design], Comparison]
) -> None:
    design, change = HIDDEN[case]
    assert comparisons(design).answer(1 + CHANGES[design].index(change)) is Answer.PROVEN


RECIPROCAL = ReciprocalQuantizer(bits=2, feature_bits=4, step_fraction_bits=14)

REWRITTEN: dict[Design, list[tuple[str, str]]] = {
    RECIPROCAL: [
        (
            r"bits_left - 1'h1;",
            r"(bits_left - 1'h1) ^ (chosen == 1 ? 4 : chosen == 2 ? 1 : 0);",
        ),
        (
            r"else if \((\w+)\) new_step <= step;",
            r"""else case (chosen)
      3: new_step <= (\1 ? step : new_step) ^ ((\1 ? step : new_step) >> 15) * 4;
      4: if (\1) new_step <= step ^ (step >> 15) * 4;
      default: if (\1) new_step <= step;
    endcase""",
        ),
    ],
    ADAPTER: [
        (r"if \(rst\) stage1_product <=", r"if (rst && chosen != 1) stage1_product <="),
        (
            r"else if \(stage1_sending\) stage1_turn <=",
            r"else if (chosen == 3 ? stage1_sent : stage1_sending || chosen == 2) stage1_turn <=",
        ),
        (
            r"else if \(stage1_valid\) stage2_sum0 <=",
            r"else if (chosen == 4 ? stage1_sent : stage1_valid) stage2_sum0 <=",
        ),
    ],
}
"""Places in a unit's Verilog, and what stands there instead for variants that are ``chosen``."""

VARIANTS: dict[str, tuple[Design, int, Answer]] = {
    "a counter that comes to 0 in as many cycles by another way": (RECIPROCAL, 1, Answer.PROVEN),
    "a counter that needs fewer cycles": (RECIPROCAL, 2, Answer.REFUTED),
    "a step that is right in the cycle in which it is read": (RECIPROCAL, 3, Answer.PROVEN),
    "a step that is wrong in the cycle in which it is read": (RECIPROCAL, 4, Answer.REFUTED),
    "a product that no reset clears": (ADAPTER, 1, Answer.PROVEN),
    "a turn that goes on while no sum is sent": (ADAPTER, 2, Answer.PROVEN),
    "a turn that begins late": (ADAPTER, 3, Answer.REFUTED),
    "a sum that takes what is not valid yet": (ADAPTER, 4, Answer.REFUTED),
}


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Design], Comparison]:
    """The comparison of each unit with its variants, made once."""

    @cache
    def make(design: Design) -> Comparison:
        text = to_verilog(design).replace(f"module {design.name}(", "module changed(chosen, ")
        text = text.replace("endmodule", f"  input [{SELECT[1] - 1}:0] {SELECT[0]};\nendmodule")
        for old, new in REWRITTEN[design]:
            text, places = re.subn(old, new, text)
            assert places == 1
        folder = tmp_path_factory.mktemp("rewritten")
        (folder / "changed.v").write_text(text, encoding="utf-8")
        to_gates("changed", folder=folder)
        return Comparison(design, "changed", select=SELECT, folder=folder)

    return make


@pytest.mark.parametrize("case", VARIANTS)
def test_a_difference_within_counts_where_it_matters(
    case: str, rewritten: Callable[[Design], Comparison]
) -> None:
    design, number, answer = VARIANTS[case]
    assert rewritten(design).answer(number) is answer


def test_an_abc_that_fails_is_no_answer_and_one_out_of_time_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    comparisons: Callable[[Design], Comparison],
) -> None:
    comparison = comparisons(MAC)
    told = 1 + CHANGES[MAC].index(TOLD["a row of operations that hardly ever comes"][1])
    program = tmp_path / "broken-abc"
    program.write_text("#!/bin/sh\nexit 3\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setattr("rtl.tools.find_abc", lambda: str(program))
    with pytest.raises(ToolError, match="^yosys-abc ended with status 3: it said nothing$"):
        comparison.answer(told)

    def late(*_: object, **__: object) -> str:
        raise ToolTimeoutError("yosys-abc took too long")

    monkeypatch.setattr("rtl.verify.equivalence.run_abc", late)
    assert comparison.answer(told) is Answer.UNKNOWN


@pytest.mark.parametrize(
    "said", ["", "Networks are equivalent.\nNetworks are NOT EQUIVALENT.\n", "UNDECIDED\n"]
)
def test_an_abc_that_says_nothing_or_both_is_unknown(
    said: str, monkeypatch: pytest.MonkeyPatch, comparisons: Callable[[Design], Comparison]
) -> None:
    monkeypatch.setattr("rtl.verify.equivalence.run_abc", lambda *_, **__: said)
    told = 1 + CHANGES[MAC].index(TOLD["a row of operations that hardly ever comes"][1])
    assert comparisons(MAC).answer(told) is Answer.UNKNOWN
