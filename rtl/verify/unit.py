"""A circuit around any unit's emitted Verilog whose output ``wrong`` is 0 if the unit is right."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Instance,
    Module,
    Mux,
    ResetSignal,
    ShapeLike,
    Signal,
    Value,
    ValueLike,
)

from rtl.design import VALID_IN, VALID_OUT, Design
from rtl.verify.proofs import Proof, Setup

__all__ = [
    "UNIT",
    "Bug",
    "Claims",
    "Part",
    "UnitHarness",
    "UnitProof",
    "input_signals",
    "instantiate",
    "misrounded",
]

UNIT = "unit"
"""Name of the instance whose Verilog the proof is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A twin's bug: with exactly these values at its inputs, the unit is given another one.

    Or, of an output: where the unit gives this value, another one is seen.

    Parameters
    ----------
    when : mapping of int
        A value by input, or that of one output.
    instead : int
        What the first port of `when` carries then.
    """

    when: Mapping[str, int]
    instead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a harness claims, as circuits; see `UnitHarness`."""

    legal: Value
    wrong: Sequence[Value]
    astray: Sequence[Value] = ()


class UnitHarness:
    """The unit's emitted Verilog as an instance beside what it must compute.

    Ports of `module` are the unit's inputs and

    - ``legal``: whether the inputs keep to what the design asks of them;
    - ``astray``: a bit for each thing that registers hold and that the operations so far cannot
      have put there;
    - ``wrong``: a bit for each thing about the outputs that is not what it must be.

    Subclasses say what these are. A proof has two parts: from the reset on nothing ever goes
    astray; and from any state in which nothing is astray, no output is wrong.

    Parameters
    ----------
    design : Design
        The unit.
    bug : Bug, optional
        Makes a twin that has to be refuted.
    """

    def __init__(self, design: Design, bug: Bug | None = None) -> None:
        self._bug = bug
        self._unit = design
        self.latency_cyc = design.latency_cyc
        self.inputs = input_signals(design)
        self.outputs = {
            port.name: Signal(port.shape, name=f"{UNIT}_{port.name}")
            for port in (*design.outputs, VALID_OUT)
        }
        self.probes: dict[str, Signal] = {}

    def probe(self, register: str, shape: ShapeLike) -> Signal:
        """A register within the unit, by its name in the Verilog."""
        name = f"probe{len(self.probes)}"
        return self.probes.setdefault(register, Signal(shape, name=name))

    @abstractmethod
    def claim(self, m: Module) -> Claims:
        """What is legal, astray and wrong."""

    def module(self) -> tuple[Module, list[Signal]]:
        """Unit and claim joined, and the ports: the last two are ``astray`` and ``wrong``.

        Probes are ports that are still to be connected.
        """
        m = Module()
        instantiate(m, self._unit, UNIT, self._given(), self._seen(m))
        claims = self.claim(m)
        legal = Signal()
        wrong = Signal(len(claims.wrong))
        astray = Signal(max(1, len(claims.astray)))
        m.d.comb += [
            legal.eq(claims.legal),
            wrong.eq(Cat(value.any() for value in claims.wrong)),
            astray.eq(Cat(value.any() for value in claims.astray)),
        ]
        return m, [*self.inputs.values(), *self.probes.values(), legal, astray, wrong]

    def _given(self) -> dict[str, Value]:
        """What the unit is given: the inputs, but for a twin's bug."""
        given: dict[str, Value] = dict(self.inputs)
        if self._bug is not None and not self._bug.when.keys() & self.outputs:
            shows: Value = self.inputs["valid_in"]
            for name, value in self._bug.when.items():
                shows &= self.inputs[name] == value
            changed = next(iter(self._bug.when))
            given[changed] = Mux(shows, self._bug.instead, given[changed])
        return given

    def _seen(self, m: Module) -> dict[str, Signal]:
        """What is connected to the unit's outputs: those that are seen, but for a twin's bug."""
        wires = dict(self.outputs)
        for name in wires.keys() & (self._bug.when if self._bug is not None else {}):
            assert self._bug is not None
            wires[name] = Signal.like(self.outputs[name], name=f"true_{name}")
            shows = wires[name] == self._bug.when[name]
            m.d.comb += self.outputs[name].eq(Mux(shows, self._bug.instead, wires[name]))
        return wires


def input_signals(design: Design) -> dict[str, Signal]:
    """Ports of a harness that the unit's inputs are connected to, ``valid_in`` among them."""
    return {
        port.name: Signal(port.shape, name=port.name)
        for port in design.ports
        if port == VALID_IN or port in design.inputs
    }


def instantiate(
    m: Module,
    design: Design,
    name: str,
    inputs: Mapping[str, Value],
    outputs: Mapping[str, Signal],
) -> None:
    """Put the unit's Verilog module into a harness.

    Parameters
    ----------
    m : Module
        The harness.
    design : Design
        The unit.
    name : str
        Of the instance.
    inputs : mapping of Value
        What each input is given.
    outputs : mapping of Signal
        What each output drives.
    """
    wires = {}
    for port, signal in input_signals(design).items():
        # A wire of the port's own width, whatever the expression's.
        wires[port] = Signal(signal.shape(), name=f"{name}_{port}")
        m.d.comb += wires[port].eq(inputs[port])
    m.submodules[name] = Instance(
        design.name,
        i_clk=ClockSignal(),
        i_rst=ResetSignal(),
        **{f"i_{port}": wire for port, wire in wires.items()},
        **{f"o_{port}": signal for port, signal in outputs.items()},
    )


_TOGETHER = 8
"""Things that registers hold, in one claim."""


class Part(StrEnum):
    """The two parts of a proof that a `UnitHarness` is right."""

    STATE = "state"
    """By induction from the reset: registers hold what the operations so far must put there."""
    RESULTS = "results"
    """From any such state, with any inputs: what comes out is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitProof(Proof):
    """A part of the proof of a harness's claims.

    Parameters
    ----------
    part : Part
        Which one.
    harness : callable
        Makes the harness of the unit, or of its twin with a bug.
    bug : Bug
        The twin's.
    """

    part: Part
    harness: Callable[[Bug | None], UnitHarness]
    bug: Bug

    @property
    def name(self) -> str:
        """The part's."""
        return str(self.part)

    def setup(self, *, twin: bool) -> Setup:
        """Probes are connected, and things are proven, a few of a state at once."""
        harness = self.harness(self.bug if twin else None)
        module, ports = harness.module()
        probes = [
            f"connect -nounset -set {signal.name} \\{UNIT}.{name}"
            for name, signal in harness.probes.items()
        ]
        # What harness and unit both delay becomes one register, stage after stage.
        merges = ["opt_merge -share_all"] * harness.latency_cyc
        prepare = [*probes, "wreduce", "opt_dff", "opt -full", *merges, "opt_clean"]
        things, results = (len(port) for port in ports[-2:])
        # Without initial values the registers hold anything.
        anything = "setattr -unset init w:*"
        match self.part:
            case Part.STATE:
                step = "sat -seq 2 -prove-skip 1 -set legal 1 -set-at 1 astray 0 -prove"
                # Each claim reads the circuit anew, which takes longer than to prove a few things.
                ends = [(i, min(i + _TOGETHER, things) - 1) for i in range(0, things, _TOGETHER)]
                claims = [f"{step} astray[{high}:{low}] 0" for low, high in ends]
                claims[0] = f"{anything}\n{claims[0]}"
                claims = ["sat -seq 1 -set legal 1 -prove astray 0", *claims]
            case Part.RESULTS:
                prepare.append(anything)
                window = f"-seq {harness.latency_cyc + 1} -prove-skip {harness.latency_cyc}"
                proof = f"sat {window} -set legal 1 -set astray 0 -prove"
                claims = [f"{proof} wrong[{i}] 0" for i in range(results)]
        return Setup(circuit=module, ports=ports, prepare=prepare, claims=claims)


def misrounded(
    product: Value, shift: int, result: Value, *, lowest: ValueLike = 0, highest: ValueLike = 0
) -> Value:
    """Whether `result` is not ``floor(product / 2**shift + 1/2)``.

    By what a floor is: ``2**shift * (2 * r - 1) <= 2 * product < 2**shift * (2 * r + 1)``. Where
    results are limited, the `lowest` one is bound from above alone, the `highest` one from below.

    Parameters
    ----------
    product : Value
        What is rounded.
    shift : int
        Bits that it loses.
    result : Value
        What came of it.
    lowest, highest : Value
        Whether the result is the lowest or the highest that there is.
    """
    twice = product << 1
    reached = twice >= ((result << 1) - 1) << shift
    passed = twice >= ((result << 1) + 1) << shift
    below, above = Value.cast(lowest).bool(), Value.cast(highest).bool()
    return (~below & ~reached) | (~above & passed)
