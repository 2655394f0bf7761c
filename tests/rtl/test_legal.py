"""The monitor of legal operations: what users may send passes it, and each broken rule is seen."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rtl.design import Design
from rtl.emit.vectors import Vectors
from rtl.mac.design import Mac
from rtl.mac.schemes import Clear, MacScheme, Style
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.rules import BEGUN, NUMBER, Rules
from rtl.rules import IDLE as BEFORE_IDLE
from rtl.tools import MissingToolError, find_iverilog
from rtl.verify.legal import LEGAL, legal_monitor
from tests.helpers.hardware import PlainMac
from tests.helpers.units import UNITS, two_stage_adapter

Cycle = Mapping[str, int]

IDLE: Cycle = {}
RESET: Cycle = {"rst": 1}


def missing() -> str:
    """How to get Icarus; empty where it is there."""
    try:
        find_iverilog()
    except MissingToolError as error:
        return str(error)
    return ""


needs_icarus = pytest.mark.skipif(bool(missing()), reason=missing())


def legal(design: Design, cycles: Sequence[Cycle], folder: Path) -> list[int]:
    """Whether no rule was broken up to each cycle; a port that a cycle does not name is 0."""
    return [said[0] for said in monitored(design, cycles, folder)]


def monitored(design: Design, cycles: Sequence[Cycle], folder: Path) -> list[tuple[int, int]]:
    """What the monitor says in each cycle: whether all was legal, and whether a unit gets it."""
    fields = [("rst", 1), ("valid_in", 1), *((port.name, port.width) for port in design.inputs)]
    rows = [
        "".join(f"{cycle.get(name, 0) & ((1 << width) - 1):0{width}b}" for name, width in fields)
        for cycle in cycles
    ]
    (folder / "rows.mem").write_text("\n".join(rows) + "\n", encoding="ascii")
    declared = "".join(f"  reg [{width - 1}:0] {name};\n" for name, width in fields)
    names = [name for name, _ in fields]
    connected = ", ".join(f".{name}({name})" for name in names)
    bench = f"""\
module tb;
  reg clk = 0;
{declared}  wire legal, taken;
  reg [{sum(width for _, width in fields) - 1}:0] rows [0:{len(rows) - 1}];
  integer i;
  {LEGAL} monitor (.clk(clk), {connected}, .monitor_legal(legal), .monitor_taken(taken));
  initial begin
    $readmemb("rows.mem", rows);
    for (i = 0; i < {len(rows)}; i = i + 1) begin
      {{{", ".join(names)}}} = rows[i];
      #1 $write("%b%b", legal, taken);
      clk = 1;
      #1 clk = 0;
    end
  end
endmodule
"""
    (folder / "tb.v").write_text(bench + legal_monitor(design), encoding="ascii")
    compiler, runtime = find_iverilog()
    subprocess.run([compiler, "-g2001", "-o", "tb", "tb.v"], cwd=folder, check=True)
    said = subprocess.run([runtime, "tb"], cwd=folder, check=True, capture_output=True, text=True)
    digits = [int(digit) for digit in said.stdout.strip()]
    return list(zip(digits[::2], digits[1::2], strict=True))


def emitted(design: Design, operations: int) -> list[Cycle]:
    """The cycles of the emitted vectors, with no more idle ones than the unit needs, and with."""
    inputs = design.stimulus(np.random.default_rng(1), operations)
    made = (Vectors.of(design, inputs), Vectors.random(design, operations))
    return [
        cycle
        for vectors in made
        for cycle in (
            RESET,
            *(
                {name: int(column[row]) for name, column in vectors.columns.items()}
                for row in range(vectors.cycles)
            ),
        )
    ]


@needs_icarus
@pytest.mark.parametrize("design", UNITS, ids=lambda design: design.name)
def test_the_emitted_vectors_of_every_kind_are_legal(design: Design, tmp_path: Path) -> None:
    cycles = emitted(design, 400)
    assert legal(design, cycles, tmp_path) == [1] * len(cycles)


SERIAL = Mac(scheme=MacScheme.UNIFORM, style=Style.SERIAL)  # one operation every 4 cycles
LADDER = LadderQuantizer(bits=2, feature_bits=4)
RECIPROCAL = ReciprocalQuantizer(bits=2, feature_bits=4)
POOLING = PoolingAccumulator(feature_bits=4, elements=3)
ADAPTER = two_stage_adapter()  # of three channels; one idle cycle behind a sample
POT = Mac(scheme=MacScheme.POT)  # 4-bit codes; -8, a zero with a sign, stands for no level

CLEARED = Mac(scheme=MacScheme.POT, clear=Clear.IDLE)  # in an idle cycle before each sum

MAC_OP: Cycle = {"valid_in": 1}
FIRST: Cycle = {"valid_in": 1, "start": 1}
LOAD: Cycle = {"valid_in": 1, "load": 1, "step": 1}
FEATURE: Cycle = {"valid_in": 1, "step": 1}
MEAN: Cycle = {"valid_in": 1}
LAST: Cycle = {"valid_in": 1, "last": 1}


def loaded(design: LadderQuantizer | ReciprocalQuantizer, idle: int) -> list[Cycle]:
    """A step, so many idle cycles, and a feature."""
    assert design.pause is not None
    return [RESET, LOAD, *[IDLE] * idle, FEATURE]


def pause(design: Design) -> int:
    assert design.pause is not None
    return design.pause.idle_cyc


KEPT: dict[str, tuple[Design, list[Cycle]]] = {
    "interval": (SERIAL, [RESET, MAC_OP, *[IDLE] * 3, MAC_OP]),
    "interval that a reset ends": (SERIAL, [RESET, MAC_OP, RESET, MAC_OP]),
    "idle after load": (LADDER, loaded(LADDER, pause(LADDER))),
    "idle after load, reciprocal": (RECIPROCAL, loaded(RECIPROCAL, pause(RECIPROCAL))),
    "idle after load that a reset ends": (LADDER, [RESET, LOAD, RESET, LOAD]),
    "step after feature": (LADDER, [*loaded(LADDER, pause(LADDER)), FEATURE, LOAD]),
    "means": (ADAPTER, [RESET, MEAN, MEAN, MEAN, IDLE, MEAN, MEAN, MEAN, IDLE, MEAN]),
    "means that a reset forgets": (ADAPTER, [RESET, MEAN, MEAN, RESET, *[MEAN] * 3, IDLE, MEAN]),
    "features": (POOLING, [RESET, MEAN, MEAN, LAST, MEAN, MEAN, LAST]),
    "fewer features": (POOLING, [RESET, LAST, MEAN, LAST, MEAN, MEAN, LAST]),
    "idle before a sum": (CLEARED, [RESET, FIRST, MAC_OP, IDLE, FIRST, IDLE, MAC_OP]),
    "sum behind a reset": (CLEARED, [RESET, FIRST, RESET, FIRST]),
    "values": (POT, [RESET, *({**MAC_OP, "weight": code} for code in range(8))]),
    "anything while idle": (POT, [RESET, {"weight": 8}, MAC_OP]),
    "anything in a reset": (POT, [{**RESET, **MAC_OP, "weight": 8}, MAC_OP]),
}


@needs_icarus
@pytest.mark.parametrize("case", KEPT)
def test_the_edge_of_each_rule_is_legal(case: str, tmp_path: Path) -> None:
    design, cycles = KEPT[case]
    assert legal(design, cycles, tmp_path) == [1] * len(cycles)


BROKEN: dict[str, tuple[Design, list[Cycle]]] = {
    "interval": (SERIAL, [RESET, MAC_OP, *[IDLE] * 2, MAC_OP]),
    "idle after load": (LADDER, loaded(LADDER, pause(LADDER) - 1)),
    "idle after load, reciprocal": (RECIPROCAL, loaded(RECIPROCAL, pause(RECIPROCAL) - 1)),
    "operation before the first load": (LADDER, [RESET, FEATURE]),
    "operation before a load behind a reset": (
        LADDER,
        [*loaded(LADDER, pause(LADDER)), RESET, FEATURE],
    ),
    "idle after the last mean": (ADAPTER, [RESET, MEAN, MEAN, MEAN, MEAN]),
    "idle after the last mean of a second sample": (
        ADAPTER,
        [RESET, MEAN, MEAN, MEAN, IDLE, MEAN, MEAN, MEAN, MEAN],
    ),
    "too many features": (POOLING, [RESET, MEAN, MEAN, MEAN]),
    "too many features behind a last one": (POOLING, [RESET, MEAN, LAST, MEAN, MEAN, MEAN]),
    "sum at once": (CLEARED, [RESET, FIRST, MAC_OP, FIRST]),
    "value of no level": (POT, [RESET, MAC_OP, {**MAC_OP, "weight": 8}]),
    "step of zero": (LADDER, [RESET, {**LOAD, "step": 0}]),
}


@needs_icarus
@pytest.mark.parametrize("case", BROKEN)
def test_each_broken_rule_is_seen_at_once_and_for_ever(case: str, tmp_path: Path) -> None:
    design, cycles = BROKEN[case]
    after = [IDLE] * 3 + [RESET] + [IDLE] * 3
    wanted = [1] * (len(cycles) - 1) + [0] * (1 + len(after))
    assert legal(design, [*cycles, *after], tmp_path) == wanted


@needs_icarus
def test_a_unit_gets_legal_operations_alone_and_goes_on_with_the_next(tmp_path: Path) -> None:
    """Behind one that is not let through, the rules are those of what came before it."""
    cycles = [RESET, MEAN, MEAN, MEAN, MEAN, LAST, MEAN]
    said = monitored(POOLING, cycles, tmp_path)
    assert [taken for _, taken in said] == [0, 1, 1, 0, 0, 1, 1]
    cycles = [RESET, FEATURE, LOAD, FEATURE, *[IDLE] * (pause(LADDER) - 1), FEATURE]
    said = monitored(LADDER, cycles, tmp_path)
    assert [taken for _, taken in said] == [0, 0, 1, 0, *[0] * (pause(LADDER) - 1), 1]


@dataclass(frozen=True, kw_only=True)
class Sparing(PlainMac):
    """A stranger's unit, which says by itself what may be asked of it."""

    @property
    def rules(self) -> Rules:
        """A sum has two products, and begins with one that says so."""
        return Rules(allowed=f"start == ({NUMBER} == 0)", ends=f"{NUMBER} == 1")


@needs_icarus
def test_a_design_declares_its_own_rules(tmp_path: Path) -> None:
    first: Cycle = {"valid_in": 1, "start": 1}
    assert legal(Sparing(), [RESET, first, MAC_OP, IDLE, first], tmp_path) == [1] * 5
    assert legal(Sparing(), [RESET, first, MAC_OP, MAC_OP], tmp_path) == [1, 1, 1, 0]
    assert legal(PlainMac(), [RESET, first, MAC_OP, MAC_OP], tmp_path) == [1] * 4


@pytest.mark.parametrize("design", UNITS, ids=lambda design: design.name)
def test_no_port_has_a_name_of_the_rules(design: Design) -> None:
    assert not {NUMBER, BEGUN, BEFORE_IDLE} & {port.name for port in design.ports}
