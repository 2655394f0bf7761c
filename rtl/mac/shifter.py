"""Units that shift: weights whose magnitudes are powers of two, or sums or tables of them."""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce
from operator import add, or_
from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value

from asq_hw.numbers.schemes import APOT
from rtl.mac.parameters import MacParameters, met_by, term_table
from rtl.mac.product import Operands, ProductUnit
from rtl.mac.schemes import Style
from rtl.mac.signs import of_complement, raised_by

__all__ = ["MagnitudeTable", "ShiftUnit"]


class ShiftUnit(ProductUnit):
    """Activation shifted by the weight's exponent, its bits inverted where the sign is 1.

    Every shift amount has a copy of the activation that is 0 unless the weight has that amount,
    so that the shifter is an OR; APoT adds one such OR for each of its terms. A second code of the
    activation has copies of its own. With style ``shift``
    the copies are registers that the weight resets, with ``select`` they are AND gates. Where signs
    are deferred, a negative weight's copies are of the activation's complement.
    """

    _inverts = True

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of the complement."""
        return of_complement(mac, code)

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """Copies that are registers take a cycle."""
        return super().latency_of(mac) + (mac.style is Style.SHIFT)

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """One, behind the shifters."""
        return 1

    def build(self, m: Module, taken: Operands) -> None:
        """Clear the copies, and join them."""
        activation, weight = taken.activation, taken.weight
        index = weight[:-1]
        domain = m.d.sync if self._mac.style is Style.SHIFT else m.d.comb
        shifted = []
        for term, made in enumerate(_shifts(self._mac)):
            copies: list[Value] = []
            for shift, chosen in sorted(made.items()):
                code = taken.second if shift.of_second else activation
                assert code is not None
                which = "second" if shift.of_second else "shift"
                copy = Signal(code.shape(), name=f"term{term}_{which}{shift.amount}")
                domain += copy.eq(self.complemented(code, weight[-1]))
                with m.If(~_is_among(index, chosen)):
                    domain += copy.eq(0)
                copies.append(copy << shift.amount)
            shifted.append(self.step(m, reduce(or_, copies), f"term{term}"))
        self._finish(m, reduce(add, shifted), index, weight[-1])

    def _finish(self, m: Module, magnitude: Value, index: Value, negative: Value) -> None:
        """Apply the sign, and tell which accumulator the product is for."""
        domain = m.d.sync if self._mac.style is Style.SHIFT else m.d.comb
        if self.inverts:
            chosen_sign = Signal()
            domain += chosen_sign.eq(negative)
            sign = self.step(m, chosen_sign, "shifted_sign")
            magnitude = magnitude ^ sign.replicate(len(self.value))
            m.d.comb += self.negative.eq(sign)
        m.d.comb += self.value.eq(magnitude)
        if self._mac.has_pair:
            odd = Signal()
            domain += odd.eq(_is_among(index, _odd_indices(self._mac)))
            m.d.comb += self.odd.eq(self.step(m, odd, "shifted_odd"))


class MagnitudeTable(ProductUnit):
    """A table of each activation times each magnitude, inverted where the sign is 1.

    With POST this is the paper's unit (Eq. 18): an even power is a shift, which a table of wires
    costs nothing more than, an odd one a rounded entry. Where signs are deferred, entries count
    from that of the smallest activation.
    """

    _inverts = True

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of an inverted entry: an activation and its complement are not rounded alike."""
        index = code & (1 << mac.weight_grid.stored_bits - 1) - 1
        (first,) = term_table(mac)[-raised_by(mac, "activation"), index]
        inverted = (1 << max(_entries(mac).values()).bit_length()) - 1
        return -first if code == index else first + inverted

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """One, behind the table."""
        return 1

    def build(self, m: Module, taken: Operands) -> None:
        """Look the magnitude up and apply the sign."""
        activation, weight = taken.activation, taken.weight
        width = len(activation)
        magnitude = Signal(self.value.shape())
        with m.Switch(Cat(activation, weight[:-1])):
            for (value, index), entry in _entries(self._mac).items():
                with m.Case(index << width | value & (1 << width) - 1):
                    m.d.comb += magnitude.eq(entry)
        sign = self.step(m, weight[-1], "entry_sign")
        looked_up = self.step(m, magnitude, "entry")
        m.d.comb += self.value.eq(looked_up ^ sign.replicate(len(self.value)))
        if self.inverts:
            m.d.comb += self.negative.eq(sign)


def _entries(mac: MacParameters) -> dict[tuple[int, int], int]:
    """A table's contents, by activation as it comes there and index of the magnitude."""
    indices = 1 << mac.weight_grid.stored_bits - 1
    terms = {pair: term for pair, (term,) in term_table(mac).items() if pair[1] < indices}
    if not mac.defers:
        return terms
    raised = raised_by(mac, "activation")
    return {(q + raised, index): term - terms[-raised, index] for (q, index), term in terms.items()}


class _Shift(NamedTuple):
    """A copy of an activation's code: which one, and how far it is shifted to the left."""

    of_second: bool
    amount: int


def _shifts(mac: MacParameters) -> list[dict[_Shift, set[int]]]:
    """Of each additive term: its copies, and the magnitude indices of the weight with each."""
    magnitudes = {index: sum(pair) for index, pair in _magnitudes(mac).items()}  # one part is 0
    terms = []
    for lowest, width in _fields(mac):
        mask = (1 << width) - 1
        shifts: dict[_Shift, set[int]] = {}
        for field in range(mask + 1):
            power = magnitudes.get(field << lowest, 0)  # the other terms are 0
            if power:
                chosen = {index for index in magnitudes if index >> lowest & mask == field}
                of_second = met_by(mac, field << lowest) == "second"
                shift = _Shift(of_second, power.bit_length() - 1)
                shifts.setdefault(shift, set()).update(chosen)
        terms.append(shifts)
    return terms


def _fields(mac: MacParameters) -> list[tuple[int, int]]:
    """Lowest bit and width of each additive term's field in a code without its sign."""
    bits = mac.weight_grid.stored_bits - 1
    if mac.weight_grid.scheme is not APOT:
        return [(0, bits)]
    pairs = [(low, 2) for low in range(bits - 2, -1, -2)]
    return [*pairs, (0, 1)] if bits % 2 else pairs


def _magnitudes(mac: MacParameters) -> dict[int, tuple[int, int]]:
    """Integer pair of every code without its sign bit."""
    half = 1 << (mac.weight_grid.stored_bits - 1)
    return {code: pair for code, pair in mac.weight_grid.decode_table().items() if code < half}


def _odd_indices(mac: MacParameters) -> set[int]:
    return {index for index, (_, odd) in _magnitudes(mac).items() if odd}


def _is_among(value: Value, numbers: Collection[int]) -> Value:
    """Whether `value` is one of `numbers`."""
    return value.matches(*sorted(numbers))
