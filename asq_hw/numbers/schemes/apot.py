"""APoT: sums of powers of two (Li et al., arXiv:1909.13144)."""

from __future__ import annotations

from itertools import product

from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes.scheme import GridShape, Scheme

__all__ = ["APOT"]


def _exponents(magnitude_bits: int) -> list[list[int]]:
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


def _levels(shape: GridShape) -> list[Level]:
    """Sign bit above one field for each term; field 0 adds nothing, field j the j-th exponent."""
    terms = _exponents(shape.bits - 1)
    shift = max(exponent for term in terms for exponent in term)
    levels = []
    for fields in product(*(range(len(term) + 1) for term in terms)):
        code, even = 0, 0
        for field, term in zip(fields, terms, strict=True):
            code = code << (2 if len(term) == 3 else 1) | field
            even += 1 << (shift - term[field - 1]) if field else 0
        levels.append(Level(code=code, even=even, odd=0, shift=shift))
        if even:
            negative = code | 1 << (shape.bits - 1)
            levels.append(Level(code=negative, even=-even, odd=0, shift=shift))
    return levels


APOT = Scheme(name="apot", title="APoT", color="#009E73", make_levels=_levels)
