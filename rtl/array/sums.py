"""What a channel keeps: how a cycle's terms become finished sums, as a circuit and as a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Signal, Value
from numpy.typing import NDArray

__all__ = ["InOrder", "Levels", "Marks", "Plain", "RootLevels", "Sums"]

Terms = NDArray[np.int64]
"""What is added in each operation: int64 (operations, channels, terms)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is known of the terms that come to the accumulators.

    Parameters
    ----------
    last : Value
        Whether they end a sum.
    clears : Value
        The same, and 1 behind a reset until no term of before comes any more.
    ends : Value
        Whether they end the channel's even powers, or a magnitude.
    """

    last: Value
    clears: Value
    ends: Value


class Sums(ABC):
    """A channel's accumulators.

    A finished sum stands in a register of its own, until the next one is finished.

    Attributes
    ----------
    terms : tuple of str
        What is added.
    finished : tuple of str
        What the sums are.
    marked_by : str
        What a channel's own mark says, for people; empty where it has none.
    late_cyc : int
        Cycles from the last terms' addition to the finished sum, beyond the usual one.
    """

    terms: tuple[str, ...] = ("sum",)
    finished: tuple[str, ...] = ("sum",)
    marked_by: str = ""
    late_cyc: int = 0

    @abstractmethod
    def build(
        self, m: Module, terms: Mapping[str, Value], marks: Marks, width: int
    ) -> Mapping[str, Signal]:
        """The accumulators, and the registers of the finished sums.

        Parameters
        ----------
        m : Module
            Where they are.
        terms : mapping of Value
            What is added in each cycle, by name; unsigned.
        marks : Marks
            What is known of them.
        width : int
            Bits of every sum.
        """

    @abstractmethod
    def model(self, terms: Terms, last: NDArray[np.bool_], ends: NDArray[np.bool_]) -> Terms:
        """The finished sums behind each operation: int64 (operations, channels, sums).

        Parameters
        ----------
        terms : int64 (operations, channels, terms)
            What is added.
        last : bool (operations,)
            Which operations end a sum.
        ends : bool (operations, channels)
            The channels' marks.
        """


class Plain(Sums):
    """Every term has an accumulator."""

    def __init__(self, terms: tuple[str, ...]) -> None:
        self.terms = self.finished = terms

    def build(
        self, m: Module, terms: Mapping[str, Value], marks: Marks, width: int
    ) -> Mapping[str, Signal]:
        """An adder, an accumulator and a register for each.

        Parameters are those of `Sums.build`.
        """
        return {
            name: _held(m, _running(m, terms[name], marks.clears, width, name), marks.last, name)
            for name in self.terms
        }

    def model(self, terms: Terms, last: NDArray[np.bool_], ends: NDArray[np.bool_]) -> Terms:
        """Sums between two ends, held."""
        done = np.zeros_like(terms)
        total = np.zeros_like(terms[0])
        held = np.zeros_like(terms[0])
        for row, is_last in enumerate(last):
            total = total + terms[row]
            if is_last:
                held, total = total, np.zeros_like(total)
            done[row] = held
        return done


class InOrder(Sums):
    """One accumulator for two sums that follow each other."""

    finished = ("even", "odd")
    marked_by = "these are the last products of this channel's even powers"

    def build(
        self, m: Module, terms: Mapping[str, Value], marks: Marks, width: int
    ) -> Mapping[str, Signal]:
        """What the accumulator holds at the mark waits for the rest.

        Parameters are those of `Sums.build`.
        """
        total = _running(m, terms["sum"], marks.clears | marks.ends, width, "sum")
        waiting = Signal(width, name="even_waiting")
        with m.If(marks.ends):
            m.d.sync += waiting.eq(total)
        return {
            "even": _held(m, waiting, marks.last, "even"),
            "odd": _held(m, total, marks.last, "odd"),
        }

    def model(self, terms: Terms, last: NDArray[np.bool_], ends: NDArray[np.bool_]) -> Terms:
        """Sums up to the mark, and behind it."""
        operations, channels = ends.shape
        done = np.zeros((operations, channels, 2), dtype=np.int64)
        total, waiting = (np.zeros(channels, dtype=np.int64) for _ in range(2))
        held = np.zeros((channels, 2), dtype=np.int64)
        for row, is_last in enumerate(last):
            total = total + terms[row, :, 0]
            if is_last:
                held = np.stack([waiting, total], axis=1)
            waiting = np.where(ends[row], total, waiting)
            total = np.where(ends[row] | is_last, 0, total)
            done[row] = held
        return done


class Levels(Sums):
    """Weights by magnitude, the largest first: a running sum, added up behind each magnitude.

    A weight of magnitude 5 is in the running sum at the ends of 5 magnitudes.
    """

    marked_by = "these are the last products of a magnitude in this channel"
    late_cyc = 1

    def build(
        self, m: Module, terms: Mapping[str, Value], marks: Marks, width: int
    ) -> Mapping[str, Signal]:
        """The running sum, and a cycle later the total of it.

        Parameters are those of `Sums.build`.
        """
        now = _running(m, terms["sum"], marks.clears, width, "running")
        level = Signal(width, name="level", reset_less=True)
        m.d.sync += level.eq(now)
        last, clears, adds = _a_cycle_later(m, marks)
        total = Signal(width, name="levels")
        sum_ = Signal(width, name="levels_sum")
        m.d.comb += sum_.eq(total + level)
        with m.If(clears):
            m.d.sync += total.eq(0)
        with m.Elif(adds):
            m.d.sync += total.eq(sum_)
        return {"sum": _held(m, sum_, last, "sum")}

    def model(self, terms: Terms, last: NDArray[np.bool_], ends: NDArray[np.bool_]) -> Terms:
        """The running sum's total; the end of a sum is the end of a magnitude."""
        done = np.zeros_like(terms)
        running, total, held = (np.zeros_like(terms[0]) for _ in range(3))
        for row, is_last in enumerate(last):
            running = running + terms[row]
            total = np.where(ends[row][:, None] | is_last, total + running, total)
            if is_last:
                held, running, total = total, np.zeros_like(total), np.zeros_like(total)
            done[row] = held
        return done


class RootLevels(Sums):
    """Powers of the root of two, the highest first: at the end of each, all before is multiplied.

    ``sqrt(2) * (E + O * sqrt(2))`` is ``2 * O + E * sqrt(2)``: the two sums change places, and one
    of them is shifted. The end of a power is marked though no weight has it.
    """

    finished = ("even", "odd")
    marked_by = "these are the last products of a power in this channel"
    late_cyc = 1

    def build(
        self, m: Module, terms: Mapping[str, Value], marks: Marks, width: int
    ) -> Mapping[str, Signal]:
        """The power's sum, and a cycle later the two sums with it.

        Parameters are those of `Sums.build`.
        """
        now = _running(m, terms["sum"], marks.clears | marks.ends, width, "power")
        power = Signal(width, name="power_sum_held", reset_less=True)
        m.d.sync += power.eq(now)
        last, clears, adds = _a_cycle_later(m, marks)
        even, odd = Signal(width, name="powers_even"), Signal(width, name="powers_odd")
        sum_ = Signal(width, name="powers_sum")
        m.d.comb += sum_.eq((odd << 1) + power)
        with m.If(clears):
            m.d.sync += [even.eq(0), odd.eq(0)]
        with m.Elif(adds):
            m.d.sync += [even.eq(sum_), odd.eq(even)]
        return {"even": _held(m, sum_, last, "even"), "odd": _held(m, even, last, "odd")}

    def model(self, terms: Terms, last: NDArray[np.bool_], ends: NDArray[np.bool_]) -> Terms:
        """Horner's rule; the end of a sum is the end of the lowest power."""
        operations, channels = ends.shape
        done = np.zeros((operations, channels, 2), dtype=np.int64)
        power, even, odd = (np.zeros(channels, dtype=object) for _ in range(3))
        held = np.zeros((channels, 2), dtype=np.int64)
        for row, is_last in enumerate(last):
            power = power + terms[row, :, 0]
            ended = ends[row] | is_last
            even, odd = np.where(ended, 2 * odd + power, even), np.where(ended, even, odd)
            power = np.where(ended, 0, power)
            if is_last:
                mask = (1 << 62) - 1  # wider than any accumulator, which wraps
                held = np.stack([even & mask, odd & mask], axis=1).astype(np.int64)
                even, odd = np.zeros_like(even), np.zeros_like(odd)
            done[row] = held
        return done


def _running(m: Module, term: Value, clears: Value, width: int, name: str) -> Signal:
    """What the sum is with this cycle's term; it begins anew behind `clears`."""
    register = Signal(width, name=f"{name}_running")
    total = Signal(width, name=f"{name}_total")
    m.d.comb += total.eq(term + register)
    m.d.sync += register.eq(total)
    with m.If(clears):
        m.d.sync += register.eq(0)
    return total


def _held(m: Module, value: Value, taken: Value, name: str) -> Signal:
    """The value where `taken` was 1 last."""
    held = Signal(value.shape(), name=f"{name}_finished")
    with m.If(taken):
        m.d.sync += held.eq(value)
    return held


def _a_cycle_later(m: Module, marks: Marks) -> tuple[Signal, Signal, Signal]:
    """Last, clears, and whether a magnitude ends."""
    last = Signal(name="last_later")
    clears = Signal(name="clears_later", init=1)
    adds = Signal(name="ends_later")
    m.d.sync += [last.eq(marks.last), clears.eq(marks.clears), adds.eq(marks.ends)]
    return last, clears, adds
