"""Encodings: which levels of an exponential grid are kept, so that codes can name them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Encoding"]


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
