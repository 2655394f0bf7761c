"""What a lane of an array is: the codes of its weights, its products, and how it makes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Mux, Value
from numpy.typing import NDArray

from rtl.array.addends import Addend, Pipe, sum_of

__all__ = ["ONE_SUM", "PAIR", "WEIGHT_BITS", "LaneOperands", "Lanes", "shift_stage"]

WEIGHT_BITS = 4
"""Nominal width of the weights: what the comparison is made at."""

ONE_SUM = ("sum",)
PAIR = ("even", "odd")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneOperands:
    """What comes to a lane, `at` so many stages behind the array's registers.

    Parameters
    ----------
    words : sequence of Value
        The activation as `Lanes.shared` makes it.
    weight : Value
        A code of `Lanes.weights`.
    """

    words: Sequence[Value]
    weight: Value


class Lanes(ABC):
    """One kind of lane. It keeps nothing: what varies comes as arguments.

    Attributes
    ----------
    sums : tuple of str
        Names of what its products are added to.
    second_code : bool
        Whether activations come in two codes.
    weight_bits : int
        Width of a weight at its port.
    """

    sums: tuple[str, ...] = ONE_SUM
    second_code: bool = False
    weight_bits: int = WEIGHT_BITS

    @abstractmethod
    def weights(self) -> Mapping[int, tuple[int, int]]:
        """Integers (even, odd) of each code at a weight's port; odd ones count roots of two."""

    @property
    def neutral(self) -> int:
        """The code that adds nothing."""
        (zero,) = [code for code, pair in self.weights().items() if pair == (0, 0)]
        return zero

    @abstractmethod
    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """What a weight's products add too much, one for each sum, whatever the activation is.

        Parameters
        ----------
        code : int
            One of `weights`.
        bits : int
            Width of an activation.
        on_cells : bool
            Whether sums are made of a chip's cells.
        """

    def products(self, bits: int) -> NDArray[np.int64]:
        """Exact products: int64 (activations, codes, sums); codes that are none have 0."""
        dense = np.zeros((1 << bits, 1 << self.weight_bits, len(self.sums)), dtype=np.int64)
        activations = np.arange(1 << bits)
        for code, pair in self.weights().items():
            for index, weight in enumerate(pair[: len(self.sums)]):
                dense[:, code, index] = activations * weight
        return dense

    def shared(self, pipe: Pipe, activation: Value, second: Value, name: str) -> Sequence[Value]:
        """What is made of an activation once for all channels: words that all stand equally late.

        They are registered, whatever the pipe; `shared_stages` tells how often.

        Parameters
        ----------
        pipe : Pipe
            Where the circuit is.
        activation : Value
            Its code at the port.
        second : Value
            Its second code, of kinds that have one.
        name : str
            Beginning of names.
        """
        return [register(pipe, activation, name)]

    @property
    def shared_stages(self) -> int:
        """Registers that `shared` takes: 1, or more."""
        return 1

    @abstractmethod
    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """What the lanes of a channel add to each sum in a cycle."""


def register(pipe: Pipe, value: Value, name: str) -> Value:
    """A register that a reset leaves as it is, in every array."""
    always = Pipe(pipe.m, registered=True, cells=None)
    return always.later(value, name)


def negative(code: int) -> bool:
    """Whether a code's highest bit, its sign, is 1."""
    return bool(code >> (WEIGHT_BITS - 1))


def full(bits: int) -> int:
    """The largest number of so many bits."""
    return (1 << bits) - 1


def shift_stage(
    pipe: Pipe, word: Value, amount: int, shifts: Value, stays: Value, name: str
) -> Value:
    """The word, or the word shifted left by `amount`; bits that one of them lacks are cleared.

    Parameters
    ----------
    pipe : Pipe
        Where the circuit is.
    word : Value
        Unsigned.
    amount : int
        How far.
    shifts, stays : Value
        Whether it is shifted, and the opposite: a reset pin has no inverter.
    name : str
        Beginning of names.
    """
    width = len(word)
    common = max(0, width - amount)
    low = pipe.later(word[: width - common], f"{name}_low", clear=shifts)
    high = pipe.later(word[common:], f"{name}_high", clear=stays)
    gap = Const(0, amount - len(low)) if amount > len(low) else Const(0, 0)
    if not common:
        return Cat(low, gap, high)
    both = pipe.later(Mux(shifts, word[:common], word[amount:]), f"{name}_both")
    return Cat(low, both, high)


def one_sum(pipe: Pipe, addends: Sequence[Addend], name: str = "sum") -> Mapping[str, Addend]:
    """A single sum of the lanes' words."""
    return {name: sum_of(pipe, addends, name)}
