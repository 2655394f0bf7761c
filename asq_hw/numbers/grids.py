"""Quantization grids: which values a weight or activation code can stand for.

A grid maps codes (the bits that are stored) to exact values. Every value is

    (even + odd * sqrt(2)) * 2**-shift        with integers even, odd, shift,

so nothing about a grid is ever rounded: the trainer's levels, the simulator's decode
table, the hardware's decoder and the storage cost are all read from the same object.

The clipping threshold alpha is 1 throughout; a layer's own alpha is part of its scale.
Uniform, symmetric and APoT grids have no level at exactly 1 that is also dyadic for every width,
so they are given on the dyadic grid itself: uniform levels are ``q * 2**-(bits - 1)`` (signed)
or ``q * 2**-bits`` (unsigned), and APoT levels are the plain sums of powers of two, before
the paper's constant that stretches the largest to alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes import GridShape, Scheme, scheme_named

__all__ = ["MAX_BITS", "MIN_BITS", "Grid"]

MIN_BITS = 2
MAX_BITS = 8


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
        Which levels of an exponential grid (POT, POST) are kept. The other grids fit their
        bits and take only ``packed``.

    Raises
    ------
    InputError
        If a parameter is out of range or the combination does not exist.

    Examples
    --------
    >>> from asq_hw.numbers.schemes import POST, UNIFORM
    >>> grid = Grid(scheme=UNIFORM, bits=4)
    >>> grid.minimum, grid.maximum
    (-8, 7)
    >>> Grid(scheme=POST, bits=4, encoding=Encoding.PAPER).stored_bits
    5
    """

    scheme: Scheme
    bits: int
    signed: bool = True
    encoding: Encoding = Encoding.PACKED

    def __post_init__(self) -> None:
        object.__setattr__(self, "scheme", scheme_named(self.scheme))
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
        if not self.signed and not self.scheme.can_be_unsigned:
            raise InputError(f"an unsigned grid must be uniform, not {self.scheme}")
        if self.encoding not in self.scheme.encodings:
            raise InputError(f"grid {self.encoding!s} is for pot and post, not for {self.scheme}")

    def __str__(self) -> str:
        sign = "" if self.signed else "unsigned "
        kept = "" if self.encoding is Encoding.PACKED else f" ({self.encoding})"
        return f"{self.bits}-bit {sign}{self.scheme}{kept}"

    @property
    def shape(self) -> GridShape:
        """Bits, sign and encoding."""
        return GridShape(bits=self.bits, signed=self.signed, encoding=self.encoding)

    @property
    def stored_bits(self) -> int:
        """Width of a stored code."""
        return self.shape.stored_bits

    @property
    def minimum(self) -> int:
        """Smallest integer of a grid of integers, Qn in Eq. 1."""
        return self._integer_range[0]

    @property
    def maximum(self) -> int:
        """Largest integer of a grid of integers, Qp in Eq. 1."""
        return self._integer_range[1]

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

    @property
    def _integer_range(self) -> tuple[int, int]:
        if self.scheme.integer_range is None:
            raise InputError(f"integer bounds exist for grids of integers, not for {self.scheme}")
        return self.scheme.integer_range(self.shape)


@cache
def _levels(grid: Grid) -> tuple[Level, ...]:
    levels = grid.scheme.make_levels(grid.shape)
    return tuple(sorted(levels, key=lambda level: level.code))


@cache
def _common_shift(grid: Grid) -> int:
    return max(level.shift for level in grid.levels)
