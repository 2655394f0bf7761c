"""A stranger's module: a target of generic gates, and a unit that triples, with its proof.

The tests of plug-ins copy it into a distribution of its own, where nothing else is of this project.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Signal, unsigned
from amaranth.lib import wiring
from numpy.typing import NDArray

from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.lib.delay import delay
from rtl.quantizer.of_layer import LayerUnits
from rtl.targets.target import Area, Resources, Statistics, Target
from rtl.units.option import Given, Option
from rtl.units.unit import Unit
from rtl.verify.of_designs import proofs_of
from rtl.verify.proofs import Proof
from rtl.verify.unit import Bug, Claims, Part, UnitHarness, UnitProof


def _count(statistics: Statistics) -> Resources:
    cells = statistics["num_cells_by_type"]
    ffs = sum(number for name, number in cells.items() if "DFF" in name)
    return Resources(ffs=ffs, others={"gates": sum(cells.values()) - ffs})


TARGET = Target(
    name="toy",
    title="toy",
    synthesize=lambda top, dsp: [f"synth -flatten -top {top}", "delete t:$scopeinfo"],
    count=_count,
    area=Area(key="gates", heading="toy gates"),
    has_free_registers=False,
)


@dataclass(frozen=True, kw_only=True)
class Triple(Design):
    """Three times a number, one cycle later."""

    bits: int = 4

    @property
    def stem(self) -> str:
        return f"triple_{self.bits}"

    @property
    def title(self) -> str:
        return f"Three times a number of {self.bits} bits"

    @property
    def ports(self) -> tuple[Port, ...]:
        return (
            VALID_IN,
            Port(name="number", width=self.bits, direction=Direction.IN, meaning="a number"),
            VALID_OUT,
            Port(name="triple", width=self.bits + 2, direction=Direction.OUT, meaning="its triple"),
        )

    @property
    def latency_cyc(self) -> int:
        return 1

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"bits": self.bits}

    def component(self) -> wiring.Component:
        return _Triple(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        return {"triple": 3 * inputs["number"]}


class _Triple(wiring.Component):
    def __init__(self, design: Triple) -> None:
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += [
            self.triple.eq(self.number + (self.number << 1)),
            self.valid_out.eq(self.valid_in),
        ]
        return m


class _Harness(UnitHarness):
    def claim(self, m: Module) -> Claims:
        number = self.inputs["number"]
        exact = Signal(unsigned(len(number) + 2))
        m.d.sync += exact.eq(number * Const(3))
        valid = delay(m, self.inputs["valid_in"], 1, "taken")
        wrong = [valid & (self.outputs["triple"] != exact), self.outputs["valid_out"] != valid]
        return Claims(legal=Const(1), wrong=wrong)


@proofs_of.register
def _proofs(design: Triple) -> tuple[Proof, ...]:
    bug = Bug(when={"number": 5}, instead=4)
    return (UnitProof(part=Part.RESULTS, harness=lambda bug: _Harness(design, bug), bug=bug),)


class _ToyUnit(Unit):
    """Triples."""

    name = "toy"
    title = "a toy unit"
    purpose = "three times a number"
    options = (
        Option(name="bits", flags=("--number-bits", "-n"), default=4, help="Width of the number."),
    )
    examples = ("asq-hw rtl toy --number-bits 5 -o build/toy", "asq-hw verify toy")

    def design(self, given: Given, layer: LayerUnits | None = None) -> Triple:
        return Triple(bits=given["bits"])


UNIT = _ToyUnit()
