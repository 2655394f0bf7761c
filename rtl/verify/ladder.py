"""What the threshold ladder must compute: its codes, and what its tables hold meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from amaranth.hdl import (
    Array,
    Cat,
    Const,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
    ValueLike,
    signed,
    unsigned,
)

from asq_hw.numbers.fixedpoint import SQRT2_MULTIPLIER
from asq_hw.numbers.odd_codes import ODD_STEP_SHIFT
from asq_hw.numbers.widths import STEP_BITS
from rtl.lib.delay import delay
from rtl.quantizer.activation import FeatureQuantizer, StepQuantizer
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.verify.unit import Bug, Claims, UnitHarness

__all__ = ["ConstantHarness", "LadderHarness", "Loads", "OddLadderHarness"]


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

    Parameters
    ----------
    m : Module
        Where all this is.
    design : StepQuantizer
        Whose steps these are.
    inputs : mapping of Value
        What it is given.
    acting : Value, optional
        D, where that is not the step that is given.
    """

    def __init__(
        self,
        m: Module,
        design: StepQuantizer,
        inputs: Mapping[str, Value],
        acting: Value | None = None,
    ) -> None:
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
        load = inputs["load"]
        step = inputs["step"] if acting is None else acting
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
        allowed = Mux(load, (inputs["step"] != 0) & (ready | ~self.loaded), ready)
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

    def wrong(self, m: Module, feature: Value, code: Value, ends: tuple[int, int]) -> Value:
        """Whether `code`, `latency_cyc` later, is not the one of `feature` with the last step.

        Parameters
        ----------
        m : Module
            Where the answer is made.
        feature, code : Value
            What goes in, and what comes out.
        ends : tuple of int
            The lowest and the highest code.
        """
        return miscoded(m, self._design, self.multiples, feature, code, ends)


def miscoded(
    m: Module,
    design: FeatureQuantizer,
    multiples: Sequence[ValueLike],
    feature: Value,
    code: Value,
    ends: tuple[int, int],
) -> Value:
    """Whether `code`, `latency_cyc` later, is not the one of `feature`.

    Parameters
    ----------
    m : Module
        Where the answer is made.
    design : FeatureQuantizer
        The quantizer.
    multiples : sequence of Value
        ``(2q - 1) * D`` for each q above Qn.
    feature, code : Value
        What goes in, and what comes out.
    ends : tuple of int
        The lowest and the highest code.
    """
    twice = Cat(Const(0, design.step_fraction_bits + 1), feature).as_signed()
    reached = Cat(twice >= multiple for multiple in multiples)
    reached = delay(m, reached, design.latency_cyc, "reached")
    least, (low, high) = design.grid.minimum, ends
    codes = range(least, design.grid.maximum + 1)
    # At the lowest and the highest, nothing binds.
    at = Array(Const(1, 1) if q <= low else reached[q - least - 1] for q in codes)
    above = Array(Const(0, 1) if q >= high else reached[q - least] for q in codes)
    place = code - least
    return (code < low) | (code > high) | ~at[place] | above[place]


class _Harness(UnitHarness):
    """A unit with a ladder in it.

    Parameters
    ----------
    design : StepQuantizer
        The unit.
    ladder : LadderQuantizer
        The ladder.
    prefix : str
        Of the names of its registers.
    bug : Bug, optional
        Of a twin.
    """

    def __init__(
        self, design: StepQuantizer, ladder: LadderQuantizer, prefix: str, bug: Bug | None
    ) -> None:
        super().__init__(design, bug)
        self._quantizer = design
        self._design = ladder
        bits = ladder.bits
        self._pause = self.probe(f"{prefix}pause", range(ladder.pause_cyc + 1))
        self._count = self.probe(f"{prefix}count", unsigned(bits))
        self._multiple = self.probe(f"{prefix}multiple", ladder.multiple_shape)
        self._step = self.probe(f"{prefix}taken", unsigned(STEP_BITS))
        self._tables = {
            number: self.probe(f"{prefix}{_place(number, bits)}", ladder.threshold_shape)
            for number in range(1, 1 << bits)
        }

    def _claims(
        self, m: Module, inputs: Mapping[str, Value], acting: Value | None = None
    ) -> Claims:
        """Codes, and the counters and tables between what the ladder is given and them."""
        loads = Loads(m, self._design, inputs, acting)
        taken = inputs["valid_in"] & ~inputs["load"]
        valid = delay(m, taken, self._design.latency_cyc, "taken")
        port, ends = self._quantizer.code_port, self._quantizer.code_range
        code = loads.wrong(m, inputs["feature"], self.outputs[port.name], ends)
        return Claims(
            legal=loads.legal,
            wrong=[self.outputs["valid_out"] != valid, valid & code],
            astray=[*loads.astray, *self._astray(m, loads)],
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


class LadderHarness(_Harness):
    """For ever, each feature's code is the rule's, for the step before it."""

    def __init__(self, design: LadderQuantizer, bug: Bug | None = None) -> None:
        super().__init__(design, design, "", bug)

    def claim(self, m: Module) -> Claims:
        """Of the ladder, with the unit's inputs."""
        return self._claims(m, self.inputs)


class OddLadderHarness(_Harness):
    """The same of odd codes, for the step before them over the root of two.

    The ladder is one cycle behind the inputs, and so is what it must compute; its step is
    ``floor(D * R2 / 2**16 + 1/2)``.
    """

    def __init__(self, design: OddLadderQuantizer, bug: Bug | None = None) -> None:
        super().__init__(design, design.ladder, "ladder.", bug)
        self._taken = {
            name: self.probe(f"{name}_taken", self.inputs[name].shape())
            for name in ("load", "feature", "step")
        }
        self._taken["valid_in"] = self.probe("valid_taken", 1)

    def claim(self, m: Module) -> Claims:
        """Of the ladder, a cycle later, and of its step."""
        before = {
            name: Signal(
                self.inputs[name].shape(), name=f"{name}_before", reset_less=name != "valid_in"
            )
            for name in self._taken
        }
        m.d.sync += [signal.eq(self.inputs[name]) for name, signal in before.items()]
        acting = Signal(STEP_BITS, name="acting", reset_less=True)
        raised = self.inputs["step"] * Const(SQRT2_MULTIPLIER) + (1 << (ODD_STEP_SHIFT - 1))
        m.d.sync += acting.eq(raised[ODD_STEP_SHIFT:])
        astray = [self._taken["step"] != acting]
        astray += [self._taken[name] != before[name] for name in ("valid_in", "load", "feature")]
        claims = self._claims(m, self._taken | {"step": before["step"]}, acting)
        return replace(claims, astray=[*astray, *claims.astray])


class ConstantHarness(UnitHarness):
    """Each feature's code is the rule's for the constant step, whatever came before it."""

    def __init__(self, design: ConstantQuantizer, bug: Bug | None = None) -> None:
        super().__init__(design, bug)
        self._design = design

    def claim(self, m: Module) -> Claims:
        """Nothing is kept from one feature to the next."""
        design = self._design
        valid = delay(m, self.inputs["valid_in"], design.latency_cyc, "taken")
        codes = range(design.grid.minimum + 1, design.grid.maximum + 1)
        multiples = [(2 * code - 1) * design.step for code in codes]
        wrong = miscoded(
            m,
            design,
            multiples,
            self.inputs["feature"],
            self.outputs["code"],
            design.code_range,
        )
        return Claims(legal=Const(1), wrong=[self.outputs["valid_out"] != valid, valid & wrong])


def _place(number: int, bits: int) -> str:
    """Name of the word that holds a threshold: of the stage that its trailing zeros tell."""
    zeros = (number & -number).bit_length() - 1
    return f"thresholds{bits - 1 - zeros}[{number >> (zeros + 1)}]"
