"""How a product with an odd power of the square root of two is computed in integers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from asq_hw.errors import InputError, check_range
from asq_hw.numbers.fixedpoint import sqrt2_times
from asq_hw.numbers.grids import Grid

__all__ = ["MAX_LUT_FRACTION_BITS", "SPLIT_FRACTION_BITS", "Product", "ProductKind"]

SPLIT_FRACTION_BITS = 4
"""Fraction bits kept when a pair (even, odd) is joined to one integer, once for each output."""

MAX_LUT_FRACTION_BITS = 15


class ProductKind(StrEnum):
    """The ways to multiply by a weight of a POST grid."""

    POST_SPLIT = "post-split"
    """Exact: even and odd parts are summed apart, the square root of two is applied once."""
    POST_LUT = "post-lut"
    """The paper's (Eq. 18): each product with an odd exponent is a rounded table entry."""
    POST_DUAL = "post-dual"
    """Each activation has a second code, of ``sqrt(2)`` times its value, for the odd powers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A choice of product for the layers whose grid holds the square root of two.

    Other grids have no odd part; for them all kinds are the same exact product.

    Parameters
    ----------
    kind : ProductKind
        ``post-split`` (exact, the default), ``post-lut`` (the paper's table) or ``post-dual``
        (two codes for each activation, see `asq_hw.numbers.odd_codes`).
    lut_fraction_bits : int
        Fraction bits of a table entry, 0 to 15; 0 is the paper's integer table.

    Examples
    --------
    >>> Product(kind=ProductKind.POST_LUT).lut_entry(3, even=0, odd=1)  # 3 * sqrt(2) = 4.24...
    4
    """

    kind: ProductKind = ProductKind.POST_SPLIT
    lut_fraction_bits: int = 0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", ProductKind(self.kind))
        except ValueError:
            known = ", ".join(ProductKind)
            raise InputError(f"product must be one of {known}, not {str(self.kind)!r}") from None
        check_range("LUT fraction bits", self.lut_fraction_bits, 0, MAX_LUT_FRACTION_BITS)

    def uses_lut(self, grid: Grid) -> bool:
        """Whether products with this grid's weights come from the rounded table."""
        return grid.uses_sqrt2 and self.kind is ProductKind.POST_LUT

    def uses_odd_codes(self, grid: Grid) -> bool:
        """Whether this grid's odd powers meet codes of their own."""
        return grid.uses_sqrt2 and self.kind is ProductKind.POST_DUAL

    def has_pair(self, grid: Grid) -> bool:
        """Whether even and odd parts are summed apart."""
        return grid.uses_sqrt2 and self.kind is ProductKind.POST_SPLIT

    def fraction_bits(self, grid: Grid) -> int:
        """Fraction bits of the dot product that leaves the accumulator, ``F`` in the contract."""
        if self.has_pair(grid):
            return SPLIT_FRACTION_BITS
        return self.lut_fraction_bits if self.uses_lut(grid) else 0

    def lut_entry(self, activation: int, even: int, odd: int) -> int:
        """One ``post-lut`` product with `lut_fraction_bits` fraction bits.

        An even power shifts the activation and is exact; an odd one is the table's entry, the
        nearest integer to ``sqrt(2) * odd * activation * 2**lut_fraction_bits``.
        """
        shifted = even * activation << self.lut_fraction_bits
        return shifted + sqrt2_times(odd * activation, self.lut_fraction_bits)
