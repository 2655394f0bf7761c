"""Widths of an integer network's numbers, and limits that follow (docs/arithmetic.md, 1, 2, 8)."""

from __future__ import annotations

__all__ = [
    "ADAPTER_BITS",
    "BIAS_BITS",
    "CODE_BITS",
    "FEATURE_BITS",
    "MAX_FEATURE_BITS",
    "MAX_REQUANTIZATION_SHIFT",
    "MAX_SHIFT",
    "MAX_STEP_FRACTION_BITS",
    "MAX_WEIGHT_SHIFT",
    "MIN_FEATURE_BITS",
    "MULTIPLIER_BITS",
    "STEP_BITS",
]

FEATURE_BITS = 16
"""Usual width of a feature map's integers."""
MIN_FEATURE_BITS = 4
MAX_FEATURE_BITS = 24
MAX_STEP_FRACTION_BITS = 24
STEP_BITS = 16
"""Width of an unsigned step size and of an adapter's unsigned hidden values."""
MULTIPLIER_BITS = 16
"""Width of a signed requantization multiplier and of an unsigned pooling multiplier."""
BIAS_BITS = 32
"""Width of every signed bias and offset."""
ADAPTER_BITS = 8
"""Width of the adapter's signed weights."""
CODE_BITS = 16
"""Width that codes are held in; those of the grids that weights can have fit 8 bits."""
MAX_SHIFT = 62
"""Largest right shift."""
MAX_REQUANTIZATION_SHIFT = MAX_SHIFT - 16
"""Largest shift of a requantization, which the fraction bits of a dot product are added to."""
MAX_WEIGHT_SHIFT = 31
"""Largest common shift of a grid whose weights still fit the executors' 64-bit arithmetic."""
