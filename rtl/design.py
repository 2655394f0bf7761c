"""What every hardware generator is: parameters that make both the circuit and its software model.

A design is a frozen dataclass that holds parameters and nothing else. Emission, verification and
synthesis read it through `Design` alone, so that a new family member needs no change there.

All designs work in operations. An operation is one row of input values, given in one clock cycle
with ``valid_in`` high; the row of outputs that answers it stands at the ports `Design.latency_cyc`
cycles later with ``valid_out`` high. Clock and reset are ``clk`` (rising edge) and ``rst``
(synchronous, active high); after a reset every accumulator is 0.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range
from asq_hw.numbers.products import Product
from rtl.digest import digest, unit_name
from rtl.identifiers import check_identifier
from rtl.lib.cells import Cells
from rtl.pace import Pause
from rtl.rules import Rules

__all__ = [
    "VALID_IN",
    "VALID_OUT",
    "Design",
    "Direction",
    "MacDesign",
    "Parameter",
    "Port",
    "Rows",
]

Parameter = int | bool | str
"""What a parameter in a header comment or a manifest can be."""

Rows = Mapping[str, NDArray[np.int64]]
"""A value of every port for each operation: int64 (N,) by port name."""


MAX_PORT_WIDTH = 64
"""Bits of the widest port: its values are int64."""


class Direction(StrEnum):
    """Which way a port's value goes."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of a design, clock and reset apart.

    Parameters
    ----------
    name : str
        Verilog identifier.
    width : int
        Bits, at least 1.
    signed : bool
        Whether the bits are two's complement.
    direction : Direction
        ``in`` or ``out``.
    meaning : str
        One line for header comments and manifests.
    values : sequence of int, optional
        The only values that an input may carry, where they are not all that its width holds (a
        weight grid's valid codes).
    """

    name: str
    width: int
    signed: bool = False
    direction: Direction
    meaning: str
    values: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_identifier("a port's name", self.name)
        if not 1 <= self.width <= MAX_PORT_WIDTH:
            raise InputError(f"a port's width must be 1..{MAX_PORT_WIDTH}, not {self.width}")

    @property
    def shape(self) -> Shape:
        """Amaranth's shape of the port."""
        return Shape(self.width, signed=self.signed)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value that the width holds."""
        return integer_range(self.width, signed=self.signed)

    @property
    def legal_values(self) -> Sequence[int]:
        """Every value that the port may carry."""
        low, high = self.range
        return range(low, high + 1) if self.values is None else self.values

    @property
    def edges(self) -> tuple[int, ...]:
        """Values where circuits go wrong: both ends, around zero and around powers of two."""
        low, high = self.range
        powers = (sign << bit for bit in range(self.width) for sign in (1, -1))
        near = {power + offset for power in (0, *powers) for offset in range(-2, 3)}
        near |= {low, low + 1, high - 1, high}
        legal = self.legal_values
        return tuple(sorted(value for value in near if value in legal)) or tuple(legal)

    def random_values(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Legal values, int64 (`count`,): one in four is an edge."""
        if self.values is None:
            low, high = self.range
            drawn = random.integers(low, high, size=count, endpoint=True)
        else:
            drawn = random.choice(self.values, size=count)
        return np.where(random.random(count) < 0.25, random.choice(self.edges, size=count), drawn)


VALID_IN = Port(
    name="valid_in", width=1, direction=Direction.IN, meaning="an operation stands at the inputs"
)
"""The port that every design takes its operations with."""

VALID_OUT = Port(
    name="valid_out", width=1, direction=Direction.OUT, meaning="an operation's result stands here"
)
"""The port that every design gives its results with."""


@dataclass(frozen=True, kw_only=True)
class Design(ABC):
    """Parameters of a circuit, with the circuit and its software model made from them.

    Subclasses are frozen keyword-only dataclasses, checked when made. Everything that a circuit
    depends on is a field: that is what `digest` reads.

    Parameters
    ----------
    layer : str
        Name of the network's layer that the circuit is made for; empty where there is none.
    """

    layer: str = ""

    @property
    @abstractmethod
    def stem(self) -> str:
        """What the circuit is, as the beginning of its name: a Verilog identifier."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that the circuit was made with, 64 hexadecimal digits."""
        return digest(self)

    @property
    def name(self) -> str:
        """Name of the top module, of files and cores: stem, layer and digest.

        A Verilog identifier that no other circuit has.
        """
        return check_identifier("a design's name", unit_name(self.stem, self.layer, self.digest))

    @property
    @abstractmethod
    def title(self) -> str:
        """One line for people: what this circuit is."""

    @property
    @abstractmethod
    def ports(self) -> tuple[Port, ...]:
        """Ports in the order of the module, ``valid_in`` and ``valid_out`` among them."""

    @property
    @abstractmethod
    def latency_cyc(self) -> int:
        """Cycles from the edge that takes an operation to the edge at which its output is read."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Parameter]:
        """What the design was made with, for header comment and manifest."""

    @abstractmethod
    def component(self) -> wiring.Component:
        """A new Amaranth component; its signature is `signature`."""

    @abstractmethod
    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """Every data output of each operation in order, starting after a reset.

        Parameters
        ----------
        inputs : mapping of int64 (N,) arrays
            A value of every input but ``valid_in``, for each operation.

        Returns
        -------
        dict of int64 (N,) arrays
            A value of every output but ``valid_out``. Rows for which `emits` is false have no
            meaning.
        """

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Which operations have an output, bool (N,): all, unless a design says otherwise."""
        return np.ones(len(next(iter(inputs.values()))), dtype=np.bool_)

    @property
    def cells(self) -> Cells | None:
        """Cells of a family of chips that stand in the circuit; None where it is portable."""
        return None

    @property
    def interval_cyc(self) -> int:
        """Cycles from one operation to the next at the least; ``valid_in`` is low in between."""
        return 1

    @property
    def pause(self) -> Pause | None:
        """What has to stay idle behind some operations (`pauses`), where there are such."""
        return None

    def pauses(self, inputs: Rows) -> NDArray[np.bool_]:
        """Which operations need `pause` behind them, bool (N,)."""
        return np.zeros(len(next(iter(inputs.values()))), dtype=np.bool_)

    @property
    def rules(self) -> Rules:
        """Which operations may come when: any at its interval, unless a design says otherwise."""
        return Rules()

    def idle_cyc(self, inputs: Rows) -> NDArray[np.int64]:
        """Cycles without ``valid_in`` that each operation needs behind it, int64 (N,)."""
        between = self.interval_cyc - 1
        behind = between if self.pause is None else self.pause.idle_cyc
        return np.where(self.pauses(inputs), behind, between).astype(np.int64)

    @property
    def excess_by_code(self) -> Mapping[str, Mapping[int, int]]:
        """Of sums with deferred signs, by output: what each weight code at a port adds too much."""
        return {}

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Random operations with many edges, int64 (`operations`,) by input but ``valid_in``."""
        return {port.name: port.random_values(random, operations) for port in self.inputs}

    @property
    def signature(self) -> wiring.Signature:
        """Amaranth signature of the ports."""
        return wiring.Signature(
            {
                port.name: (wiring.In if port.direction is Direction.IN else wiring.Out)(port.shape)
                for port in self.ports
            }
        )

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Data inputs: all but ``valid_in``."""
        return tuple(
            p for p in self.ports if p.direction is Direction.IN and p.name != VALID_IN.name
        )

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Data outputs: all but ``valid_out``."""
        return tuple(
            p for p in self.ports if p.direction is Direction.OUT and p.name != VALID_OUT.name
        )


@dataclass(frozen=True, kw_only=True)
class MacDesign(Design):
    """A multiply-accumulate unit: what the proofs know of it, beside its ports.

    Data inputs are ``start`` (1: this product begins a new sum), ``activation`` (an integer of
    `activation_grid`), ``second`` where the product has odd codes of activations, and ``weight`` (a
    code of `weight_grid`, or what `weight_codes` has for it; the valid ones are the port's
    `Port.values`). Outputs are ``accumulator``, or ``even`` and
    ``odd``; each holds the sum after its operation, and the `excess` of its weights, modulo its own
    width. Where
    `Design.interval_cyc` is more than 1, sums change between one product and the next.
    """

    @property
    @abstractmethod
    def weight_grid(self) -> Grid:
        """Grid of the weight codes; products are over its common shift."""

    @property
    def weight_codes(self) -> Mapping[int, int]:
        """The grid's code of each valid one at the port, in ascending order: the same, mostly."""
        return {code: code for code in sorted(self.weight_grid.decode_table())}

    @property
    @abstractmethod
    def activation_grid(self) -> Grid:
        """Uniform grid of the activations, signed or not."""

    @property
    @abstractmethod
    def product(self) -> Product:
        """Which product a grid with the square root of two has; others have only one."""

    @property
    def operands(self) -> Mapping[str, range]:
        """An activation's codes, by port: ``activation``, and ``second`` for the odd ones."""
        grid = self.activation_grid
        made = {"activation": range(grid.minimum, grid.maximum + 1)}
        if self.product.uses_odd_codes(self.weight_grid):
            low, high = odd_code_range(grid)
            made["second"] = range(low, high + 1)
        return made

    @property
    def excess(self) -> Mapping[int, tuple[int, ...]]:
        """What a product adds to each output beside itself, by the weight's code at the port.

        It is the same for every activation, so that a sum's follows from its weights.
        """
        return dict.fromkeys(self.weight_codes, (0,) * len(self.outputs))

    @property
    def settle_cyc(self) -> int:
        """Cycles behind a reset until the outputs are 0, before a first result comes."""
        return 0

    @property
    def running(self) -> Mapping[str, str]:
        """Registers of the Verilog that hold a sum beside the one that a port shows, by port.

        Such a register holds what the port shows, or 0 in the cycle before a sum begins there.
        """
        return {}

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Products each on its own, then long sums, then short ones; the first goes on from 0."""
        rows = super().stimulus(random, operations)
        alone, long = operations // 2, operations // 4
        start = random.random(operations) < 1 / 16
        start[:alone] = True
        start[alone : alone + long] = False
        start[:1] = False
        return rows | self._all_pairs(random, rows, alone) | {"start": start.astype(np.int64)}

    def _all_pairs(
        self, random: np.random.Generator, rows: Rows, count: int
    ) -> dict[str, NDArray[np.int64]]:
        """Weights with an activation's codes, all among the first `count` if they suffice."""
        names = ("weight", *self.operands)
        values = {port.name: port.legal_values for port in self.inputs}
        if math.prod(len(values[name]) for name in names) > count:
            return {}
        every = np.array(list(product(*(values[name] for name in names))), np.int64)
        changed = {name: rows[name].copy() for name in names}
        for name, column in zip(names, random.permutation(every).T, strict=True):
            changed[name][: len(every)] = column
        return changed
