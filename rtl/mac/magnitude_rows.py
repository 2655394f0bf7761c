"""Multipliers of a weight's magnitude: the sign is left to the sum's adder."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value

from rtl.mac.parameters import MacParameters
from rtl.mac.product import Operands, ProductUnit
from rtl.mac.signs import of_complement

__all__ = ["DirectMagnitude", "MagnitudeRows", "add_shifted_rows", "reset_row"]


class _OfMagnitude(ProductUnit):
    """The magnitude of a product, and the sign beside it: the adder subtracts where that is 1.

    Where signs are deferred, a negative weight meets the activation's complement.
    """

    _subtracts = True

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of the complement."""
        return of_complement(mac, code)


class DirectMagnitude(_OfMagnitude):
    """Activation times magnitude as the synthesis tool builds it; the bits come inverted."""

    def build(self, m: Module, taken: Operands) -> None:
        """Multiply."""
        weight = taken.weight
        activation = self.complemented(taken.activation, weight[-1])
        m.d.comb += [
            self.value.eq(activation * ~weight[:-1]),
            self.negative.eq(weight[-1]),
        ]


class MagnitudeRows(_OfMagnitude):
    """Rows that the magnitude's bits, inverted, reset, summed in a tree. The sign goes along."""

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """A cycle more than others: operands, then rows."""
        return 1 + super().latency_of(mac)

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """One behind each level of the tree but the last."""
        return max(0, (mac.weight_bits - 2).bit_length() - 1)

    def build(self, m: Module, taken: Operands) -> None:
        """Sum the rows, and let the sign keep pace with them."""
        weight = taken.weight
        activation = self.complemented(taken.activation, weight[-1])
        rows: list[Value] = [
            reset_row(m, activation, bit, f"row{i}", resets=self._resets)
            for i, bit in enumerate(weight[:-1])
        ]
        sign = Signal(name="row_sign")
        m.d.sync += sign.eq(weight[-1])
        negative: Value = sign
        level = 0
        while len(rows) > 1:
            pairs = zip(rows[::2], rows[1::2], strict=False)
            sums = [add_shifted_rows(low, high, 1 << level) for low, high in pairs]
            rows = sums + rows[len(rows) & ~1 :]
            level += 1
            if len(rows) > 1:
                rows = [self.step(m, row, f"level{level}_{i}") for i, row in enumerate(rows)]
                negative = self.step(m, negative, f"level{level}_sign")
        m.d.comb += [self.value.eq(rows[0]), self.negative.eq(negative)]


def reset_row(m: Module, activation: Value, bit: Value, name: str, *, resets: bool) -> Signal:
    """The activation in a register that the bit resets.

    Parameters
    ----------
    m : Module
        Where the register is.
    activation : Value
        What it takes.
    bit : Value
        Where it is 1, the register takes 0.
    name : str
        The register's.
    resets : bool
        Whether the circuit's reset does, too.
    """
    row = Signal(activation.shape(), name=name, reset_less=not resets)
    m.d.sync += row.eq(activation)
    with m.If(bit):
        m.d.sync += row.eq(0)
    return row


def add_shifted_rows(low: Value, high: Value, shift: int, *, subtracts: bool = False) -> Value:
    """``low + high * 2**shift``, or the difference, without an adder for the lowest bits.

    Parameters
    ----------
    low, high : Value
        Rows, or sums of rows.
    shift : int
        By how many bits `high` stands above `low`.
    subtracts : bool
        Whether it is a difference.
    """
    upper = (low >> shift) - high if subtracts else (low >> shift) + high
    joined = Cat(low[:shift], upper)
    return joined.as_signed() if upper.shape().signed else joined
