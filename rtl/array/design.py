"""An array: output channels that share the activations of a cycle, and what stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError, check_range
from asq_hw.network.bounds import Range
from asq_hw.numbers.fixedpoint import integer_range, sqrt2_times, sqrt2_times_pair
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.numbers.products import SPLIT_FRACTION_BITS
from rtl.array.circuit import ArrayComponent, operands_cyc, stages
from rtl.array.join import JOIN_CYC
from rtl.array.kinds import ArrayKind
from rtl.array.lanes import ONE_SUM
from rtl.array.stimulus import in_sums
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.digest import silent_at
from rtl.lib.cells import Cells

__all__ = ["MAX_CHANNELS", "MAX_LANES", "MAX_WINDOW", "Array"]

MAX_LANES = 64
MAX_CHANNELS = 64
MAX_WINDOW = 256
_MIN_ACCUMULATOR_BITS = 16
_MAX_ACCUMULATOR_BITS = 32


@dataclass(frozen=True, kw_only=True)
class Array(Design):
    """`channels` dot products of `lanes` products each in every operation, over many operations.

    An operation holds the lanes' activations, a weight for every lane of every channel, whether
    these products end the channels' sums (``last``), and what is read: the sum that ``channel``
    finished last, this operation included, plus ``bias``. A sum and its bias wrap as two's
    complement does. Kinds with an even and an odd sum have two biases, and the two are joined:
    ``2**4 * E + rshift(O * R2, 11)``, as docs/arithmetic.md has it, once for the whole array.

    Negative products are summed with their bits inverted, so that a finished sum is too large by
    `excess`, which follows from the weights: it is subtracted from the bias beforehand.

    Parameters
    ----------
    kind : ArrayKind
        Scheme, products and sums; weights have 4 bits.
    lanes : int
        Products of a channel in a cycle, 1 to 64.
    channels : int
        Output channels, 1 to 64.
    activation_bits : int
        Width of the unsigned activations, 2 to 8.
    accumulator_bits : int
        Width of every sum, 16 to 32.
    window : int
        Of kinds whose channels have activations of their own: 0 where these come from outside, a
        port for each; else the activations of an operation, 2 to 256, of which an index selects one
        for each lane.
    registered : bool
        Whether there is a register behind each adder of a tree.
    cells : Cells, optional
        Cells of a family of chips that the trees are made of; None: portable Verilog.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """

    kind: ArrayKind
    lanes: int
    channels: int
    activation_bits: int = 4
    accumulator_bits: int = 24
    window: int = field(default=0, metadata=silent_at(0))
    registered: bool = True
    cells: Cells | None = field(default=None, metadata=silent_at(None))

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", ArrayKind(self.kind))
        except ValueError:
            known = ", ".join(ArrayKind)
            raise InputError(f"kind must be one of {known}, not {str(self.kind)!r}") from None
        check_range("lanes", self.lanes, 1, MAX_LANES)
        check_range("channels", self.channels, 1, MAX_CHANNELS)
        check_range("activation bits", self.activation_bits, MIN_BITS, MAX_BITS)
        check_range(
            "accumulator bits", self.accumulator_bits, _MIN_ACCUMULATOR_BITS, _MAX_ACCUMULATOR_BITS
        )
        if self.window:
            check_range("window", self.window, 2, MAX_WINDOW)
            if not self.kind.gathers:
                raise InputError(f"a window is for ordered weights, not for {self.kind}")

    @property
    def stem(self) -> str:
        """Beginning of its name: ``array16x8_post_dual_a4_acc24``, lanes and channels first."""
        parts = [f"array{self.lanes}x{self.channels}", str(self.kind), f"a{self.activation_bits}"]
        parts += [f"acc{self.accumulator_bits}"]
        parts += [f"window{self.window}"] if self.window else []
        parts += [] if self.registered else ["unregistered"]
        parts += [self.cells.name] if self.cells else []
        return "_".join(parts).replace("-", "_")

    @property
    def title(self) -> str:
        """One line for people."""
        return (
            f"Array of {self.channels} channels with {self.lanes} lanes each: {self.kind.heading}, "
            f"{self.activation_bits}-bit activations"
        )

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {
            "kind": str(self.kind),
            "lanes": self.lanes,
            "channels": self.channels,
            "activation_bits": self.activation_bits,
            "accumulator_bits": self.accumulator_bits,
            **({"window": self.window} if self.window else {}),
            "registered": self.registered,
            **({"cells": self.cells.name} if self.cells else {}),
        }

    @property
    def is_joined(self) -> bool:
        """Whether two sums are joined to one result."""
        return len(self.kind.sums.finished) > 1

    @property
    def result_range(self) -> Range:
        """Every result."""
        low, high = integer_range(self.accumulator_bits)
        if not self.is_joined:
            return Range(low=low, high=high)
        return Range(
            low=sqrt2_times_pair(low, low, SPLIT_FRACTION_BITS),
            high=sqrt2_times_pair(high, high, SPLIT_FRACTION_BITS),
        )

    @property
    def biases(self) -> tuple[str, ...]:
        """Names of the biases' ports, one for each finished sum."""
        names = self.kind.sums.finished
        return ("bias",) if names == ONE_SUM else tuple(f"bias_{name}" for name in names)

    @property
    def ports(self) -> tuple[Port, ...]:
        """Operands, marks and what is read; the result."""
        return (
            VALID_IN,
            *self._activation_ports(),
            *self._weight_ports(),
            _input("last", "these products end the sums of all channels"),
            *self._marks(),
            *self._reading(),
            VALID_OUT,
            Port(
                name="result",
                width=self.result_range.bits,
                signed=True,
                direction=Direction.OUT,
                meaning="the sum that the channel finished last, and its bias",
            ),
        )

    def _activation_ports(self) -> list[Port]:
        bits = self.activation_bits
        every = [
            (f"{channel}_{lane}", f", channel {channel}, lane {lane}")
            for channel in range(self.channels)
            for lane in range(self.lanes)
        ]
        suffixes = [(str(lane), f", lane {lane}") for lane in range(self.lanes)]
        if self.window:
            suffixes = [(str(place), f" {place} of the window") for place in range(self.window)]
        elif self.kind.gathers:
            suffixes = every
        ports = [
            _input(f"activation{suffix}", f"activation{where}", bits) for suffix, where in suffixes
        ]
        if self.window:
            width, known = (self.window - 1).bit_length(), range(self.window)
            return ports + [
                _input(f"index{suffix}", f"place of the activation{where}", width, known)
                for suffix, where in every
            ]
        if not self.kind.lanes.second_code:
            return ports
        codes = range(sqrt2_times((1 << bits) - 1, 0) + 1)
        return ports + [
            _input(f"second{suffix}", f"its second code{where}", bits + 1, codes)
            for suffix, where in suffixes
        ]

    def _weight_ports(self) -> list[Port]:
        lanes = self.kind.lanes
        codes = tuple(sorted(lanes.weights()))
        return [
            _input(
                f"weight{channel}_{lane}",
                f"weight of channel {channel}, lane {lane}",
                lanes.weight_bits,
                codes,
            )
            for channel in range(self.channels)
            for lane in range(self.lanes)
        ]

    def _marks(self) -> list[Port]:
        said = self.kind.sums.marked_by
        return [_input(f"ends{channel}", said) for channel in range(self.channels if said else 0)]

    def _reading(self) -> list[Port]:
        width = (self.channels - 1).bit_length()
        known = range(self.channels)
        channel = [_input("channel", "whose sum is read", width, known)] if width else []
        return channel + [
            Port(
                name=name,
                width=self.accumulator_bits,
                signed=True,
                direction=Direction.IN,
                meaning="added to the sum that is read",
            )
            for name in self.biases
        ]

    @property
    def latency_cyc(self) -> int:
        """Operands, stages, accumulator; choice of a channel, bias, and what joins sums."""
        waits = operands_cyc(self) + self._stages + self.kind.sums.late_cyc
        return waits + 3 + (JOIN_CYC if self.is_joined else 0)

    @property
    def _stages(self) -> int:
        return stages(self) if self.registered else 0

    def component(self) -> ArrayComponent:
        """The circuit."""
        return ArrayComponent(self)

    def excess(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """What weights make the lanes' words too large by: int64 (..., terms).

        Parameters
        ----------
        weights : int64 (...)
            Codes at the ports.
        """
        lanes = self.kind.lanes
        table = np.zeros((1 << lanes.weight_bits, len(lanes.sums)), dtype=np.int64)
        for code in lanes.weights():
            table[code] = lanes.excess(code, self.activation_bits, on_cells=self.cells is not None)
        return table[weights]

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """Exact products and what negative ones add too much, summed; then bias, and join."""
        weights = self._columns(inputs, "weight")
        terms = (self._products(inputs, weights) + self.excess(weights)).sum(axis=2)
        last = inputs["last"] != 0
        shape = (len(last), self.channels)
        ends = np.zeros(shape, dtype=np.bool_)
        if self.kind.sums.marked_by:
            marks = [inputs[f"ends{channel}"] for channel in range(self.channels)]
            ends = np.stack(marks, axis=1) != 0
        finished = self.kind.sums.model(terms, last, ends)
        channel = inputs["channel"] if self.channels > 1 else np.zeros(len(last), dtype=np.int64)
        read = finished[np.arange(len(last)), channel]
        biased = np.stack([inputs[name] for name in self.biases], axis=1) + read
        half = 1 << (self.accumulator_bits - 1)
        sums = (biased + half & (2 * half - 1)) - half
        if not self.is_joined:
            return {"result": sums[:, 0]}
        joined = [sqrt2_times_pair(even, odd, SPLIT_FRACTION_BITS) for even, odd in sums.tolist()]
        return {"result": np.array(joined, dtype=np.int64)}

    def _columns(self, inputs: Rows, name: str) -> NDArray[np.int64]:
        """A value for every lane of every channel: int64 (operations, channels, lanes)."""
        rows = [
            [inputs[f"{name}{channel}_{lane}"] for lane in range(self.lanes)]
            for channel in range(self.channels)
        ]
        return np.moveaxis(np.array(rows, dtype=np.int64), 2, 0)

    def _activations(self, inputs: Rows, name: str) -> NDArray[np.int64]:
        if self.window:
            columns = [inputs[f"{name}{place}"] for place in range(self.window)]
            window, indices = np.stack(columns, axis=1), self._columns(inputs, "index")
            return np.take_along_axis(window[:, None, :], indices, axis=2)
        if self.kind.gathers:
            return self._columns(inputs, name)
        rows = np.stack([inputs[f"{name}{lane}"] for lane in range(self.lanes)], axis=1)
        return np.repeat(rows[:, None, :], self.channels, axis=1)

    def _products(self, inputs: Rows, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        lanes = self.kind.lanes
        activations = self._activations(inputs, "activation")
        if not lanes.second_code:
            return lanes.products(self.activation_bits)[activations, weights]
        pairs = np.zeros((1 << lanes.weight_bits, 2), dtype=np.int64)
        for code, pair in lanes.weights().items():
            pairs[code] = pair
        chosen = pairs[weights]
        made = chosen[..., 0] * activations + chosen[..., 1] * self._activations(inputs, "second")
        return made[..., None]

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Sums of many lengths, then short ones, and sums of one operation; any channel is read."""
        codes = [port for port in self._activation_ports() if not port.name.startswith("index")]
        rows = super().stimulus(random, operations)
        return in_sums(self, rows, random, activations=codes, marks=self._marks())


def _input(name: str, meaning: str, width: int = 1, values: Sequence[int] | None = None) -> Port:
    return Port(name=name, width=width, direction=Direction.IN, meaning=meaning, values=values)
