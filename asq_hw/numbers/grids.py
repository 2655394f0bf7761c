"""Quantization grids: which values a weight or activation code can stand for.

A grid maps codes (the bits that are stored) to exact values. Every value is

    (even + odd * sqrt(2)) * 2**-shift        with integers even, odd, shift,

so nothing about a grid is ever rounded: the trainer's levels, the simulator's decode
table, the hardware's decoder and the storage cost are all read from the same object.

The clipping threshold alpha is 1 throughout; a layer's own alpha is part of its scale.
Uniform and APoT grids have no level at exactly 1 that is also dyadic for every width, so
they are given on the dyadic grid itself: uniform levels are ``q * 2**-(bits - 1)`` (signed)
or ``q * 2**-bits`` (unsigned), and APoT levels are the plain sums of powers of two, before
the paper's constant that stretches the largest to alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import product

from asq_hw.errors import InputError

__all__ = ["MAX_BITS", "MIN_BITS", "Encoding", "Grid", "Level", "Scheme"]

MIN_BITS = 2
MAX_BITS = 8


class Scheme(StrEnum):
    """The family that a grid's levels come from."""

    UNIFORM = "uniform"
    """Integers times a step (paper, Eq. 1-2)."""
    POT = "pot"
    """Powers of two (paper, Eq. 3)."""
    POST = "post"
    """Powers of the square root of two (paper, Eq. 17)."""
    APOT = "apot"
    """Sums of powers of two (Li et al., arXiv:1909.13144)."""


class Encoding(StrEnum):
    """How an exponential grid of ``2**bits + 1`` published levels is put into bits.

    Eq. 3 and 17 hold ``2**(bits - 1)`` magnitudes, two signs and a zero: one level more
    than ``bits`` bits can name. Each encoding resolves that differently.
    """

    PACKED = "packed"
    """The smallest magnitude is dropped: ``2**bits - 1`` levels in ``bits`` bits; code 0 is 0."""
    PAPER = "paper"
    """Every published level is kept: ``2**bits + 1`` levels in ``bits + 1`` bits."""
    ZERO_FREE = "zero-free"
    """Zero is dropped: ``2**bits`` levels in ``bits`` bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One code and its exact value, ``(even + odd * sqrt(2)) * 2**-shift``."""

    code: int
    even: int
    odd: int
    shift: int

    @property
    def value(self) -> float:
        """The value, rounded to double precision."""
        return math.ldexp(self.even, -self.shift) + math.ldexp(self.odd, -self.shift) * math.sqrt(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A quantization grid.

    Parameters
    ----------
    scheme : Scheme
        Family of the levels.
    bits : int
        Nominal width, 2 to 8. What is stored can be wider: see `stored_bits`.
    signed : bool
        Whether negative levels exist. Only uniform grids can be unsigned.
    encoding : Encoding
        Which levels of an exponential grid (POT, POST) are kept. Uniform and APoT grids
        fit their bits and take only ``packed``.

    Raises
    ------
    InputError
        If a parameter is out of range or the combination does not exist.
    """

    scheme: Scheme
    bits: int
    signed: bool = True
    encoding: Encoding = Encoding.PACKED

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "scheme", Scheme(self.scheme))
        except ValueError:
            known = ", ".join(Scheme)
            raise InputError(f"scheme must be one of {known}, not {str(self.scheme)!r}") from None
        try:
            object.__setattr__(self, "encoding", Encoding(self.encoding))
        except ValueError:
            known = ", ".join(Encoding)
            raise InputError(f"grid must be one of {known}, not {str(self.encoding)!r}") from None
        if isinstance(self.bits, bool) or not isinstance(self.bits, int):
            raise InputError(f"bits must be an integer, not {self.bits!r}")
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise InputError(f"bits must be {MIN_BITS}..{MAX_BITS}, not {self.bits}")
        if not isinstance(self.signed, bool):
            raise InputError(f"signed must be True or False, not {self.signed!r}")
        if not self.signed and self.scheme is not Scheme.UNIFORM:
            raise InputError(f"an unsigned grid must be uniform, not {self.scheme}")
        if self.encoding is not Encoding.PACKED and not self.is_exponential:
            raise InputError(f"grid {self.encoding!s} is for pot and post, not for {self.scheme}")

    def __str__(self) -> str:
        sign = "" if self.signed else "unsigned "
        kept = "" if self.encoding is Encoding.PACKED else f" ({self.encoding})"
        return f"{self.bits}-bit {sign}{self.scheme}{kept}"

    @property
    def is_exponential(self) -> bool:
        """Whether the levels are signed powers of one base."""
        return self.scheme in (Scheme.POT, Scheme.POST)

    @property
    def stored_bits(self) -> int:
        """Width of a stored code."""
        return self.bits + (self.encoding is Encoding.PAPER)

    @property
    def minimum(self) -> int:
        """Smallest integer of a uniform grid, Qn in Eq. 1."""
        self._require_uniform()
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """Largest integer of a uniform grid, Qp in Eq. 1."""
        self._require_uniform()
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def levels(self) -> tuple[Level, ...]:
        """Every valid code with its value, in order of the code."""
        return _levels(self)

    @property
    def ordered_levels(self) -> tuple[Level, ...]:
        """Every valid code with its value, in order of the value."""
        return tuple(sorted(self.levels, key=lambda level: level.value))

    @property
    def shift(self) -> int:
        """The common shift: every level is an integer pair times ``2**-shift``."""
        return _common_shift(self)

    @property
    def uses_sqrt2(self) -> bool:
        """Whether any level has an odd part, that is, a factor of the square root of two."""
        return any(level.odd for level in self.levels)

    def integer_pair(self, level: Level) -> tuple[int, int]:
        """Even and odd part of a level over the grid's common `shift`."""
        scale = self.shift - level.shift
        return level.even << scale, level.odd << scale

    def decode_table(self) -> dict[int, tuple[int, int]]:
        """Integer pair (even, odd) over the common `shift`, by code. Missing codes are invalid."""
        return {level.code: self.integer_pair(level) for level in self.levels}

    def _require_uniform(self) -> None:
        if self.scheme is not Scheme.UNIFORM:
            raise InputError(f"integer bounds exist for uniform grids, not for {self.scheme}")


@cache
def _levels(grid: Grid) -> tuple[Level, ...]:
    match grid.scheme:
        case Scheme.UNIFORM:
            levels = _uniform_levels(grid)
        case Scheme.POT | Scheme.POST:
            levels = _exponential_levels(grid)
        case Scheme.APOT:
            levels = _apot_levels(grid)
    return tuple(sorted(levels, key=lambda level: level.code))


@cache
def _common_shift(grid: Grid) -> int:
    return max(level.shift for level in grid.levels)


def _uniform_levels(grid: Grid) -> list[Level]:
    """Two's complement codes of q; value q * 2**-(bits - 1) signed, q * 2**-bits unsigned."""
    shift = grid.bits - grid.signed
    mask = (1 << grid.bits) - 1
    return [
        Level(code=q & mask, even=q, odd=0, shift=shift)
        for q in range(grid.minimum, grid.maximum + 1)
    ]


def _exponential_levels(grid: Grid) -> list[Level]:
    """Sign bit above an index that grows with the magnitude; index 0 is zero unless zero-free."""
    magnitudes = 1 << (grid.bits - 1)
    index_bits = grid.stored_bits - 1
    first = 0 if grid.encoding is Encoding.ZERO_FREE else 1
    largest = magnitudes if grid.encoding is Encoding.PAPER else magnitudes - 1
    levels = [] if first == 0 else [Level(code=0, even=0, odd=0, shift=0)]
    for index in range(first, largest + 1):
        even, odd, shift = _power(grid.scheme, largest - index)
        levels.append(Level(code=index, even=even, odd=odd, shift=shift))
        levels.append(Level(code=1 << index_bits | index, even=-even, odd=-odd, shift=shift))
    return levels


def _power(scheme: Scheme, n: int) -> tuple[int, int, int]:
    """``base**-n`` as (even, odd, shift): sqrt(2)**-n is sqrt(2) * 2**-((n + 1) / 2) for odd n."""
    if scheme is Scheme.POT:
        return 1, 0, n
    return (1, 0, n // 2) if n % 2 == 0 else (0, 1, (n + 1) // 2)


def _apot_exponents(magnitude_bits: int) -> list[list[int]]:
    """Exponents of each additive term: term t is 0 or ``2**-e`` for e in its list.

    Two-bit terms hold three exponents each. The exponents 1, 2, 3, ... are dealt to the terms
    in turn (APoT, Eq. 7); with an odd number of bits one more term has a single exponent,
    ``2 * pairs + 1``, which at 4 bits is the arrangement of the APoT authors' published code.
    """
    pairs, single = divmod(magnitude_bits, 2)
    middle = [2 * pairs + 1] if single else []
    dealt = [e for e in range(1, 3 * pairs + single + 1) if e not in middle]
    terms = [dealt[t::pairs] for t in range(pairs)]
    return [*terms, middle] if single else terms


def _apot_levels(grid: Grid) -> list[Level]:
    """Sign bit above one field for each term; field 0 adds nothing, field j the j-th exponent."""
    terms = _apot_exponents(grid.bits - 1)
    shift = max(exponent for term in terms for exponent in term)
    levels = []
    for fields in product(*(range(len(term) + 1) for term in terms)):
        code, even = 0, 0
        for field, term in zip(fields, terms, strict=True):
            code = code << (2 if len(term) == 3 else 1) | field
            even += 1 << (shift - term[field - 1]) if field else 0
        levels.append(Level(code=code, even=even, odd=0, shift=shift))
        if even:
            negative = code | 1 << (grid.bits - 1)
            levels.append(Level(code=negative, even=-even, odd=0, shift=shift))
    return levels
