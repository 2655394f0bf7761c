"""Multipliers of a uniform weight: the baselines of the family."""

from __future__ import annotations

from functools import partial, reduce
from operator import add

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from rtl.mac.codes import Codes
from rtl.mac.magnitude_rows import add_shifted_rows, reset_row
from rtl.mac.parameters import MacParameters, term_table
from rtl.mac.product import Operands, ProductUnit
from rtl.mac.signs import of_sign_bit, of_sign_row, raised_by

__all__ = [
    "ArrayMultiplier",
    "BoothMultiplier",
    "DirectMultiplier",
    "RowMultiplier",
    "TableMultiplier",
]


class _TwosComplement(ProductUnit):
    """A unit whose product is a word of two's complement.

    Where signs are deferred, the word's sign bit stands above a negative weight's product of 0
    alone.
    """

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of the sign bit."""
        return of_sign_bit(mac, code)

    def finish(self, m: Module, product: Value, negative: Value) -> None:
        """Drive `value` from the product and the weight's sign."""
        if not self._mac.defers:
            m.d.comb += self.value.eq(product)
            return
        word = Signal(self.value.shape(), name="word")
        m.d.comb += [word.eq(product), self.value.eq(Cat(word[:-1], word[-1] ^ negative))]


class DirectMultiplier(_TwosComplement):
    """``activation * weight`` as the synthesis tool builds it."""

    def build(self, m: Module, taken: Operands) -> None:
        """Multiply."""
        activation, weight = taken.activation, taken.weight
        self.finish(m, activation * weight.as_signed(), weight[-1])


class TableMultiplier(ProductUnit):
    """A table of all products."""

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """As small as it can be."""
        return of_sign_row(mac, code)

    def build(self, m: Module, taken: Operands) -> None:
        """Look the product up."""
        activation, weight = taken.activation, taken.weight
        width, mac = len(activation), self._mac
        raised, excess = (
            (raised_by(mac, "activation"), self.excesses(mac))
            if mac.defers
            else (0, dict.fromkeys(mac.weight_codes, 0))
        )
        with m.Switch(Cat(activation, weight)):
            for (value, code), (term,) in term_table(mac).items():
                with m.Case(code << width | value + raised & (1 << width) - 1):
                    m.d.comb += self.value.eq(term + excess[code])


class BoothMultiplier(_TwosComplement):
    """Radix-4 Booth: half as many partial products as the weight has bits."""

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """One, behind the digits."""
        return 1

    def build(self, m: Module, taken: Operands) -> None:
        """Sum the digits' partial products."""
        activation, weight = taken.activation, taken.weight
        bits = Cat(Const(0, 1), weight, weight[-1])
        partial = [
            self.step(m, self._digit(m, activation, bits[i : i + 3]), f"digit{i}") << i
            for i in range(0, len(weight), 2)
        ]
        self.finish(m, reduce(add, partial), self.step(m, weight[-1], "digits_sign"))

    @staticmethod
    def _digit(m: Module, activation: Signal, bits: Value) -> Value:
        """Activation times the Booth digit ``bits[0] + bits[1] - 2 * bits[2]``."""
        negative, doubles, singles = Signal(), Signal(), Signal()
        m.d.comb += [
            negative.eq(bits[2]),
            singles.eq(bits[0] ^ bits[1]),
            doubles.eq((bits[0] == bits[1]) & (bits[2] != bits[1])),
        ]
        width = len(activation) + 2
        magnitude = Signal(signed(width))
        m.d.comb += magnitude.eq(Mux(singles, activation, 0) | Mux(doubles, activation << 1, 0))
        inverted = (magnitude ^ negative.replicate(width))[:width].as_signed()
        return inverted + negative


class RowMultiplier(ProductUnit):
    """An array multiplier whose AND gates are the reset pins of its registers.

    Every bit of the weight has a copy of the activation that it resets; the copies are summed in
    a tree, neighbors first, so that each adder is as short as it can be. The sign bit's copy is
    subtracted; where signs are deferred, it is of the activation's complement, and added.
    """

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of the complement."""
        return of_sign_row(mac, code)

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """A cycle more than others: operands, then rows."""
        return 1 + super().latency_of(mac)

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """One behind each level of the tree but the last."""
        return (mac.weight_bits - 1).bit_length() - 1

    def build(self, m: Module, taken: Operands) -> None:
        """Sum the rows."""
        activation, weight = taken.activation, taken.weight
        is_inverted = self._mac.codes is Codes.INVERTED
        make_row = partial(reset_row, resets=self._resets) if is_inverted else _row
        add_rows = _add_upper_bits if is_inverted else _add_neighbors
        rows: list[Value] = []
        for i, bit in enumerate(weight):
            is_complement = self._mac.defers and i == len(weight) - 1
            rows.append(make_row(m, ~activation if is_complement else activation, bit, f"row{i}"))
        level = 0
        while len(rows) > 1:
            subtracts = not self._mac.defers and level == _level_of_sign(weight)
            rows = add_rows(rows, 1 << level, subtract_last=subtracts)
            level += 1
            if len(rows) > 1:
                rows = [self.step(m, row, f"level{level}_{i}") for i, row in enumerate(rows)]
        m.d.comb += self.value.eq(rows[0])


class ArrayMultiplier(ProductUnit):
    """The rows of `RowMultiplier`, added one after the other.

    Each adder is as wide as a row; a sum's lowest bit is a bit of the product. The sign bit's row
    comes last and is subtracted, or added as a complement where signs are deferred.
    """

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of the complement."""
        return of_sign_row(mac, code)

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """A cycle more than others: operands, then rows."""
        return 1 + super().latency_of(mac)

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """One behind each adder but the last."""
        return mac.weight_bits - 2

    def build(self, m: Module, taken: Operands) -> None:
        """Add row after row."""
        activation, weight = taken.activation, taken.weight
        factor: Value = activation
        bits: Value = weight
        done: list[Value] = []
        total: Value = _row(m, factor, bits[0], "row0")
        for index in range(1, len(weight)):
            is_last = index == len(weight) - 1
            is_complement = self._mac.defers and is_last
            row = _row(m, ~factor if is_complement else factor, bits[index], f"row{index}")
            done, upper = [*done, total[0]], total >> 1
            if is_last:
                total = upper + row if is_complement else _minus(upper, row)
                break
            total = self.step(m, upper + row, f"total{index}")
            done = [self.step(m, bit, f"bit{i}_at{index}") for i, bit in enumerate(done)]
            factor = self.step(m, factor, f"activation{index}")
            bits = self.step(m, bits, f"weight{index}")
        joined = Cat(*done, total)
        m.d.comb += self.value.eq(joined if self._mac.defers else joined.as_signed())


def _row(m: Module, activation: Value, bit: Value, name: str) -> Signal:
    """The activation in a register that the weight's bit resets."""
    row = Signal(activation.shape(), name=name)
    m.d.sync += row.eq(activation)
    with m.If(~bit):
        m.d.sync += row.eq(0)
    return row


def _minus(value: Value, row: Value) -> Value:
    """``value - row`` as ``~(~value + row)``: tables invert sums for nothing, rows they do not."""
    inverted = Cat(~value, Const(1, 1)) if not value.shape().signed else ~value
    return ~(inverted.as_signed() + row)


def _level_of_sign(weight: Signal) -> int:
    """Level of the tree at which the sign bit's row meets another one."""
    last, level = len(weight) - 1, 0
    while last % 2 == 0:
        last, level = last // 2, level + 1
    return level


def _add_neighbors(rows: list[Value], shift: int, *, subtract_last: bool) -> list[Value]:
    """Sums of rows 0 and 1, 2 and 3, ...; the upper row of each pair counts ``2**shift`` times."""
    sums: list[Value] = []
    for low, high in zip(rows[::2], rows[1::2], strict=False):
        is_last = subtract_last and high is rows[-1]
        sums.append(low - (high << shift) if is_last else low + (high << shift))
    return sums + rows[len(rows) & ~1 :]


def _add_upper_bits(rows: list[Value], shift: int, *, subtract_last: bool) -> list[Value]:
    """The same with adders that begin where both rows have bits."""
    pairs = zip(rows[::2], rows[1::2], strict=False)
    sums = [
        add_shifted_rows(low, high, shift, subtracts=subtract_last and high is rows[-1])
        for low, high in pairs
    ]
    return sums + rows[len(rows) & ~1 :]
