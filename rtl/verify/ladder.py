"""What the threshold ladder must compute: its codes, and what its tables hold meanwhile."""

from __future__ import annotations

from amaranth.hdl import (
    Array,
    Cat,
    Const,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
    signed,
    unsigned,
)

from asq_hw.numbers.widths import STEP_BITS
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.ladder import LadderQuantizer
from rtl.verify.unit import Bug, Claims, UnitHarness, delayed

__all__ = ["LadderHarness", "Loads"]


class Loads:
    """The steps that a quantizer was given, and what rounding says of their features.

    A code q is ``clamp(round(X * 2**T / D), Qn, Qp)``, a tie going up, where ``2 * X * 2**T``
    reaches ``(2q - 1) * D`` (or q is Qn) but not ``(2q + 1) * D`` (or q is Qp).

    Attributes
    ----------
    rest : Signal
        Idle cycles that the last step still needs.
    step : Signal
        The last step D.
    loaded, loaded_before : Signal
        Whether there was a step since the last reset, and another before it.
    multiples, multiples_before : list of Signal
        ``(2q - 1) * D`` for each q above Qn, of the last step and of the one before it.
    legal : Value
        Whether an operation, if there is one, keeps to the pauses and comes behind a first step,
        and steps are 1 at least.
    astray : list of Value
        Whether any of `multiples` is not what they are said to be: each must be 2 D above the
        one before.
    """

    def __init__(self, m: Module, design: StepQuantizer, inputs: dict[str, Signal]) -> None:
        self._design = design
        shape = signed(STEP_BITS + design.bits + 2)
        count = (1 << design.bits) - 1
        # A reset forgets the steps, but does not stop what is under way.
        self.rest = Signal(range(design.load_cyc + 1), reset_less=True)
        self.step = Signal(STEP_BITS, reset_less=True)
        self.loaded, self.loaded_before = Signal(name="loaded"), Signal(name="loaded_before")
        self.multiples, self.multiples_before = (
            [Signal(shape, name=f"{name}{i + 1}", reset_less=True) for i in range(count)]
            for name in ("multiple", "before")
        )
        load, step = inputs["load"], inputs["step"]
        new = [Signal(shape, name=f"new{i + 1}") for i in range(count)]
        m.d.comb += [
            later.eq(value) for later, value in zip(new, self._chain(new, step), strict=True)
        ]
        with m.If(inputs["valid_in"] & load):
            m.d.sync += [self.rest.eq(design.load_cyc), self.step.eq(step), self.loaded.eq(1)]
            m.d.sync += self.loaded_before.eq(self.loaded)
            for now, before, coming in zip(self.multiples, self.multiples_before, new, strict=True):
                m.d.sync += [now.eq(coming), before.eq(now)]
        with m.Elif(self.rest != 0):
            m.d.sync += self.rest.eq(self.rest - 1)
        ready = (self.rest == 0) & self.loaded
        allowed = Mux(load, (step != 0) & (ready | ~self.loaded), ready)
        self.legal = ~inputs["valid_in"] | allowed | ResetSignal()
        chain = self._chain(self.multiples, self.step)
        pairs = zip(self.multiples, chain, strict=True)
        self.astray = [multiple != value for multiple, value in pairs]

    def _chain(self, multiples: list[Signal], step: Value) -> list[Value]:
        """Each multiple as the one before it makes it."""
        lowest = 2 * self._design.grid.minimum + 1
        # Qn is 0 or a power of two: the lowest multiple is a difference, not a product.
        first = step - (step << self._design.bits) if lowest < 0 else step
        return [first, *(multiple + (step << 1) for multiple in multiples[:-1])]

    def wrong(self, m: Module, feature: Value, code: Value) -> Value:
        """Whether `code`, `latency_cyc` later, is not the one of `feature` with the last step."""
        design = self._design
        twice = Cat(Const(0, design.step_fraction_bits + 1), feature).as_signed()
        reached = Cat(twice >= multiple for multiple in self.multiples)
        reached = delayed(m, reached, design.latency_cyc, "reached")
        place = code - design.grid.minimum
        # Before the first and behind the last, nothing binds.
        at, above = Array([Const(1), *reached]), Array([*reached, Const(0)])
        return ~at[place] | above[place]


class LadderHarness(UnitHarness):
    """For ever, each feature's code is the rule's, for the step before it."""

    def __init__(self, design: LadderQuantizer, bug: Bug | None = None) -> None:
        super().__init__(design, bug)
        self._design = design
        bits = design.bits
        self._pause = self.probe("pause", range(design.pause_cyc + 1))
        self._count = self.probe("count", unsigned(bits))
        self._multiple = self.probe("multiple", design.multiple_shape)
        self._step = self.probe("taken", unsigned(STEP_BITS))
        self._tables = {
            number: self.probe(_place(number, bits), design.threshold_shape)
            for number in range(1, 1 << bits)
        }

    def claim(self, m: Module) -> Claims:
        """Codes, and the counters and tables between them."""
        design = self._design
        loads = Loads(m, design, self.inputs)
        taken = self.inputs["valid_in"] & ~self.inputs["load"]
        valid = delayed(m, taken, design.latency_cyc, "taken")
        code = loads.wrong(m, self.inputs["feature"], self.outputs["code"])
        wrong = [self.outputs["valid_out"] != valid, valid & code]
        return Claims(
            legal=loads.legal, wrong=wrong, astray=[*loads.astray, *self._astray(m, loads)]
        )

    def _astray(self, m: Module, loads: Loads) -> list[Value]:
        thresholds = (1 << self._design.bits) - 1
        pausing = loads.rest > thresholds
        pause = Mux(pausing, loads.rest - thresholds, 0)
        count = Mux(pausing | (loads.rest == 0), 0, thresholds + 1 - loads.rest)
        multiple = Array([loads.multiples[0], *loads.multiples])[self._count]
        busy = loads.rest != 0
        return [
            self._pause != pause,
            self._count != count,
            busy & (self._multiple != multiple),
            busy & (self._step != loads.step),
            *self._wrong_tables(m, loads),
        ]

    def _wrong_tables(self, m: Module, loads: Loads) -> list[Value]:
        """Thresholds that are written are the last step's, the others the one's before it."""
        wrong = []
        for number, entry in self._tables.items():
            written = Signal(name=f"written{number}")
            m.d.comb += written.eq(loads.rest < (1 << self._design.bits) - number)
            known = Mux(written, loads.loaded, loads.loaded_before)
            multiple = Mux(written, loads.multiples[number - 1], loads.multiples_before[number - 1])
            wrong.append(known & (entry != self._threshold(multiple)))
        return wrong

    def _threshold(self, multiple: Value) -> Value:
        """The smallest feature that reaches the multiple, or beyond all features."""
        design = self._design
        least = ((multiple - 1) >> (design.step_fraction_bits + 1)) + 1
        edge = 1 << (design.feature_bits - 1)
        return Mux(least > edge, edge, Mux(least < -edge, -edge, least))


def _place(number: int, bits: int) -> str:
    """Name of the word that holds a threshold: of the stage that its trailing zeros tell."""
    zeros = (number & -number).bit_length() - 1
    return f"thresholds{bits - 1 - zeros}[{number >> (zeros + 1)}]"
