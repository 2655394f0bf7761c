"""What a layer's weights meet: planes of integers, each a function of an activation's codes.

All products become ordinary matrix products of integers here. With ``post-split`` a layer has twice
the columns: even parts, then odd parts. With the others it has one part and several planes:

- ``post-lut``: ``q`` itself, and for every magnitude ``j`` of an odd part the table
  ``sqrt2(j * q, f)``; the weights are the scaled even parts and the signs of the odd ones.
- ``post-dual``: ``q`` itself, and what ``qO`` is above it. Since ``wE * q + wO * qO`` is
  ``(wE + wO) * q + wO * (qO - q)``, the weights are the sums of both parts, and the odd ones. The
  difference is small, so that it fits a byte for codes of any width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.fixedpoint import sqrt2_times
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import IntArray
from asq_hw.sim.program import CODE_VALUES

__all__ = ["Planes", "difference_range", "plane_count", "planes_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planes:
    """Weights in their planes.

    Attributes
    ----------
    weights : (parts, O, planes, I / groups, kH, kW) array
        Of each plane.
    tables : (planes, 256) array
        What stands in each plane: for ``q - Qn``, or for the difference of the codes above the
        smallest one. Entries that no code has repeat the last.
    """

    weights: IntArray
    tables: IntArray

    @property
    def spans(self) -> IntArray:
        """From the smallest to the largest value of each plane."""
        return np.asarray(self.tables.max(axis=1) - self.tables.min(axis=1))


def planes_of(layer: Conv | Linear, product: Product) -> Planes:
    """The planes of a layer, and its weights in them.

    Parameters
    ----------
    layer : Conv or Linear
        The layer.
    product : Product
        How weights with the square root of two are multiplied.
    """
    even, odd = layer.decoded_weights()
    if isinstance(layer, Linear):
        even, odd = even[:, :, None, None], odd[:, :, None, None]
    grid, codes = layer.weight_grid, layer.quantizer.grid
    first = _counted(codes.minimum, codes.maximum)
    if product.uses_lut(grid):
        return _of_table(even, odd, first, product.lut_fraction_bits)
    if product.uses_odd_codes(grid):
        return Planes(
            weights=np.stack([even + odd, odd], axis=1)[None],
            tables=np.stack([first, _counted(*difference_range(codes))]),
        )
    parts = np.stack([even, odd] if product.has_pair(grid) else [even])
    return Planes(weights=parts[:, :, None], tables=first[None])


def _of_table(even: IntArray, odd: IntArray, codes: IntArray, fraction: int) -> Planes:
    magnitudes = [int(value) for value in np.unique(np.abs(odd)) if value]
    planes = [even << fraction] + [np.sign(odd) * (np.abs(odd) == j) for j in magnitudes]
    entries = [[sqrt2_times(j * q, fraction) for q in codes.tolist()] for j in magnitudes]
    tables = np.array([codes.tolist(), *entries], dtype=np.int64)
    return Planes(weights=np.stack(planes, axis=1)[None], tables=tables)


def _counted(low: int, high: int) -> IntArray:
    """The integers from `low` on to `high`, which then is repeated: a table of all bytes."""
    return np.minimum(low + np.arange(CODE_VALUES, dtype=np.int64), high)


def difference_range(codes: Grid) -> tuple[int, int]:
    """Where ``qO - q`` lies, whatever the step.

    The step ``DO`` of `qO` is at most D and at least D / 2, so that the difference has the value's
    sign. For positive values an unclamped ``q`` is at least ``(qO - 1/2) / 2 - 1/2``, and the
    difference at most ``qO / 2 + 3/4``. Where `q` is clamped it is at most that of the largest
    codes, which is less. Negative values likewise.

    Examples
    --------
    >>> from asq_hw.numbers.schemes import UNIFORM
    >>> difference_range(Grid(scheme=UNIFORM, bits=4, signed=False))  # of 0 .. 21
    (0, 11)
    """
    low, high = odd_code_range(codes)
    return -((3 - 2 * low) // 4), (2 * high + 3) // 4


def plane_count(layer: Conv | Linear, product: Product) -> int:
    """How many planes a layer can have at most."""
    grid = layer.weight_grid
    if product.uses_lut(grid):
        odd = {abs(odd_part) for _, odd_part in grid.decode_table().values()}
        return 1 + len(odd - {0})
    return 2 if product.uses_odd_codes(grid) else 1
