"""What a multiply-accumulate unit can be told: its scheme and how it is built."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from asq_hw.errors import InputError
from asq_hw.numbers import schemes
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.numbers.products import ProductKind
from asq_hw.numbers.schemes import Scheme

__all__ = ["Accumulation", "Clear", "MacScheme", "Signs", "Style"]


class Style(StrEnum):
    """How the product of activation and weight is made."""

    DIRECT = "direct"
    """``*`` on the decoded weight: whatever the synthesis tool makes of it."""
    BOOTH = "booth"
    """Radix-4 Booth digits of the weight select 0, 1 or 2 times the activation."""
    TABLE = "table"
    """A table of every product, addressed by activation and weight code."""
    ROWS = "rows"
    """Partial products are registers that the weight's bits reset, so that no gate is spent on
    them; an adder tree sums them."""
    ARRAY = "array"
    """The same partial products, added one after the other: shorter adders, more steps."""
    SERIAL = "serial"
    """Bit by bit: a product every `weight_bits` cycles, with one adder."""
    SHIFT = "shift"
    """The activation is shifted by one-hot amounts, again in registers that the weight resets."""
    SELECT = "select"
    """The same with AND gates in place of the registers: fewer registers, more gates."""
    STAGED = "staged"
    """Shifts by 2, 1, ... steps, one after the other, each where a bit of the weight's exponent
    says so; the last one is left to the sum's adder where there is one for each sum."""


class Accumulation(StrEnum):
    """Which sums there are, and how many adders they share."""

    SINGLE = "single"
    """One sum; the only choice but for ``post-split``."""
    PAIR = "pair"
    """An adder each for the even and the odd sum; products come in any order."""
    SHARED = "shared"
    """The even and the odd sum take turns at one adder; products come in any order."""
    ORDERED = "ordered"
    """One sum. Weights are known before the run, so that the even products of a dot product can
    come before its odd ones: two sums, one after the other, in one accumulator."""


class Clear(StrEnum):
    """How an accumulator begins a new sum in the same cycle in which it takes a product."""

    MASKED = "masked"
    """Gates in front of the adder mask the old sum."""
    AHEAD = "ahead"
    """The accumulator's register is reset one cycle ahead; a second register holds the sum for
    the reader. More registers, no gate on the carry chain's way."""
    IDLE = "idle"
    """The accumulator's register, which the reader sees, is reset in a cycle without a product,
    which has to come before each sum. No gate and no second register."""


class Signs(StrEnum):
    """When the sign of a weight counts."""

    IMMEDIATE = "immediate"
    """In each product: sums are what they are called."""
    DEFERRED = "deferred"
    """At the end: no product is negative, and a sum is too large by what its weights alone tell
    (`Mac.excess`), which whoever reads or begins it takes off."""


_SHIFTERS = (Style.SHIFT, Style.SELECT)
_EVEN_AND_ODD = (Accumulation.PAIR, Accumulation.SHARED, Accumulation.ORDERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """What `MacScheme` says of a scheme."""

    grid: Scheme
    weight_bits: tuple[int, int]
    styles: tuple[Style, ...]
    accumulations: tuple[Accumulation, ...] = (Accumulation.SINGLE,)
    product: ProductKind = ProductKind.POST_SPLIT


class MacScheme(StrEnum):
    """Weight grid and product of a multiply-accumulate unit, and how such units are built.

    Attributes
    ----------
    grid_scheme : Scheme
        Family of the weight grid's levels.
    weight_bits : tuple of int
        Narrowest and widest weight that units are built for. An exponential grid has no use for
        more bits long before a shifter runs out of room: each added bit doubles the number of
        exponents.
    styles : tuple of Style
        How a product can be made, the default first.
    accumulations : tuple of Accumulation
        Which sums there can be, the default first.
    product : ProductKind
        Which product a grid with the square root of two has; others have only one.
    """

    grid_scheme: Scheme
    weight_bits: tuple[int, int]
    styles: tuple[Style, ...]
    accumulations: tuple[Accumulation, ...]
    product: ProductKind

    UNIFORM = (
        "uniform",
        _Declared(
            grid=schemes.UNIFORM,
            weight_bits=(MIN_BITS, MAX_BITS),
            styles=(
                Style.ROWS,
                Style.ARRAY,
                Style.DIRECT,
                Style.BOOTH,
                Style.TABLE,
                Style.SERIAL,
            ),
        ),
    )
    """Integers: the unit that every other one is measured against."""
    SYMMETRIC = (
        "symmetric",
        _Declared(
            grid=schemes.SYMMETRIC,
            weight_bits=(MIN_BITS, MAX_BITS),
            styles=(Style.ROWS, Style.DIRECT),
        ),
    )
    """Integers without the lowest one: a multiplier of the magnitude; the sum subtracts."""
    POT = (
        "pot",
        _Declared(
            grid=schemes.POT,
            weight_bits=(MIN_BITS, 5),
            styles=(*_SHIFTERS, Style.STAGED, Style.TABLE),
        ),
    )
    """Signed powers of two: a shifter."""
    APOT = (
        "apot",
        _Declared(
            grid=schemes.APOT, weight_bits=(MIN_BITS, MAX_BITS), styles=(*_SHIFTERS, Style.TABLE)
        ),
    )
    """Sums of powers of two: a shifter for each term, and an adder."""
    POST_LUT = (
        "post-lut",
        _Declared(
            grid=schemes.POST,
            weight_bits=(3, 5),
            styles=(Style.TABLE,),
            product=ProductKind.POST_LUT,
        ),
    )
    """Signed powers of the square root of two; odd powers from a rounded table (paper, Eq. 18)."""
    POST_SPLIT = (
        "post-split",
        _Declared(
            grid=schemes.POST,
            weight_bits=(3, 5),
            styles=(*_SHIFTERS, Style.STAGED),
            accumulations=_EVEN_AND_ODD,
        ),
    )
    """The same grid, exact: even and odd powers are summed apart, as integers."""
    POST_DUAL = (
        "post-dual",
        _Declared(
            grid=schemes.POST,
            weight_bits=(3, 5),
            styles=(*_SHIFTERS, Style.STAGED),
            product=ProductKind.POST_DUAL,
        ),
    )
    """The same grid; odd powers meet the activation's second code, so that there is one sum."""

    def __new__(cls, name: str, declared: _Declared | None = None) -> Self:
        """A member is its name, with what is declared of it as attributes."""
        assert declared is not None
        member = str.__new__(cls, name)
        member._value_ = name
        member.grid_scheme = declared.grid
        member.weight_bits = declared.weight_bits
        member.styles = declared.styles
        member.accumulations = declared.accumulations
        member.product = declared.product
        return member

    @staticmethod
    def for_product(grid: Scheme, product: ProductKind) -> MacScheme:
        """That of units for a grid whose odd powers, if it has any, are multiplied in a way.

        Raises
        ------
        InputError
            If no unit has such a grid.
        """
        for scheme in MacScheme:
            if scheme.grid_scheme is grid and (
                not scheme.counts_roots or scheme.product is product
            ):
                return scheme
        raise InputError(f"there is no multiply-accumulate unit for {grid} weights")

    @property
    def multiplies(self) -> bool:
        """Whether a weight is an integer like any other, as a multiplier takes it."""
        return self.grid_scheme is schemes.UNIFORM

    @property
    def splits(self) -> bool:
        """Whether even and odd products are summed apart."""
        return self.accumulations == _EVEN_AND_ODD

    @property
    def counts_roots(self) -> bool:
        """Whether a weight's power is one of the square root of two."""
        return self.grid_scheme is schemes.POST

    @property
    def rounds(self) -> bool:
        """Whether odd products are rounded, to fraction bits that the unit has."""
        return self.product is ProductKind.POST_LUT

    def has_weight_bits(self, bits: int) -> bool:
        """Whether units are built for weights of this width."""
        low, high = self.weight_bits
        return low <= bits <= high
