"""What a multiply-accumulate unit can be told: its scheme and how it is built."""

from __future__ import annotations

from enum import StrEnum

from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.numbers.schemes import APOT, POST, POT, UNIFORM, Scheme

__all__ = ["Accumulation", "Clear", "MacScheme", "Style"]


class MacScheme(StrEnum):
    """Weight grid and product of a multiply-accumulate unit."""

    UNIFORM = "uniform"
    """Integers: the unit that every other one is measured against."""
    POT = "pot"
    """Signed powers of two: a shifter."""
    APOT = "apot"
    """Sums of powers of two: a shifter for each term, and an adder."""
    POST_LUT = "post-lut"
    """Signed powers of the square root of two; odd powers from a rounded table (paper, Eq. 18)."""
    POST_SPLIT = "post-split"
    """The same grid, exact: even and odd powers are summed apart, as integers."""

    @property
    def grid_scheme(self) -> Scheme:
        """Family of the weight grid's levels."""
        match self:
            case MacScheme.UNIFORM:
                return UNIFORM
            case MacScheme.POT:
                return POT
            case MacScheme.APOT:
                return APOT
            case MacScheme.POST_LUT | MacScheme.POST_SPLIT:
                return POST

    @property
    def weight_bits(self) -> tuple[int, int]:
        """Narrowest and widest weight that the scheme is built for.

        An exponential grid has no use for more bits long before a shifter runs out of room: each
        added bit doubles the number of exponents.
        """
        match self:
            case MacScheme.UNIFORM | MacScheme.APOT:
                return MIN_BITS, MAX_BITS
            case MacScheme.POT:
                return MIN_BITS, 5
            case MacScheme.POST_LUT | MacScheme.POST_SPLIT:
                return 3, 5

    def has_weight_bits(self, bits: int) -> bool:
        """Whether the scheme is built for weights of this width."""
        low, high = self.weight_bits
        return low <= bits <= high


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
