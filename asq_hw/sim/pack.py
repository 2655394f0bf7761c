"""A layer's weights in the form that the dot products read.

The two products become ordinary matrix products of integers here. With ``post-split`` a layer has
twice the columns: even parts, then odd parts. With ``post-lut`` a layer has several planes of
codes: ``q`` itself, and for every magnitude ``j`` of an odd part the table ``sqrt2(j * q, f)``;
its weights are then the scaled even parts and the signs of the odd ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asq_hw.checks import IntArray
from asq_hw.fixedpoint import sqrt2_times
from asq_hw.layers import Conv, Linear
from asq_hw.products import Product
from asq_hw.sim.program import Lane

__all__ = ["PackedWeights", "pack_weights"]

_VECTOR = 16
"""Columns are padded to a multiple of this many, one vector of 32-bit sums."""
_TABLE = 256
"""Entries of a plane's table, one for each value of ``q - Qn`` that a byte can hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedWeights:
    """Planes and weights of one layer.

    Attributes
    ----------
    lane : Lane
        Integers that hold the planes, the weights and every partial sum.
    tables : (planes, 256) array
        What stands in each plane for ``q - Qn``.
    padding : (planes,) array
        What stands there for ``q = 0``.
    groups : int
        Groups of the packed form; small groups of the layer are joined, with zeros between.
    weights : (groups, kH, kW, planes, I / groups, columns) array
        Columns of each part are padded with zeros to whole vectors.
    starts : (groups, columns) array
        What sums begin with: VNNI's planes are moved into the unsigned bytes, this takes it back.
    parts : int
        2 where the columns are even parts followed by odd parts.
    """

    lane: Lane
    tables: IntArray
    padding: IntArray
    groups: int
    weights: IntArray
    starts: IntArray
    parts: int

    @property
    def columns(self) -> int:
        """Padded number of sums for each pixel and group."""
        return int(self.weights.shape[-1])


def pack_weights(layer: Conv | Linear, product: Product, *, vnni: bool) -> PackedWeights:
    """Choose planes, groups and lane for `layer`, and arrange its weights."""
    parts, tables = _parts_and_tables(layer, product)
    groups = layer.groups if isinstance(layer, Conv) else 1
    weights, groups = _join_groups(parts, groups)
    low = layer.quantizer.grid.minimum
    codes = layer.quantizer.grid.maximum - low + 1
    tables[:, codes:] = tables[:, codes - 1 : codes]  # never read; kept inside the range
    lane = _choose_lane(weights, tables, vnni=vnni)
    starts = np.zeros((groups, weights.shape[-1]), dtype=np.int64)
    if lane is Lane.VNNI:
        offsets = -tables.min(axis=1)
        tables = tables + offsets[:, None]
        starts = -np.einsum("ghwpic,p->gc", weights, offsets)
    return PackedWeights(
        lane=lane,
        tables=tables,
        padding=tables[:, -low],
        groups=groups,
        weights=weights,
        starts=starts,
        parts=parts.shape[0],
    )


def _parts_and_tables(layer: Conv | Linear, product: Product) -> tuple[IntArray, IntArray]:
    """Weights (parts, O, planes, I / groups, kH, kW) and tables (planes, 256)."""
    even, odd = layer.decoded_weights()
    if isinstance(layer, Linear):
        even, odd = even[:, :, None, None], odd[:, :, None, None]
    values = layer.quantizer.grid.minimum + np.arange(_TABLE, dtype=np.int64)
    grid = layer.weight_grid
    if not product.uses_lut(grid):
        parts = np.stack([even, odd] if grid.uses_sqrt2 else [even])
        return parts[:, :, None], values[None]
    fraction = product.lut_fraction_bits
    magnitudes = [int(value) for value in np.unique(np.abs(odd)) if value]
    planes = [even << fraction] + [np.sign(odd) * (np.abs(odd) == j) for j in magnitudes]
    entries = [
        [
            sqrt2_times(j * int(q), fraction) if q <= layer.quantizer.grid.maximum else 0
            for q in values
        ]
        for j in magnitudes
    ]
    tables = np.array([values.tolist(), *entries], dtype=np.int64)
    return np.stack(planes, axis=1)[None], tables


def _join_groups(parts: IntArray, groups: int) -> tuple[IntArray, int]:
    """Weights (groups, kH, kW, planes, I / groups, columns) of fewer groups, with zeros between.

    Groups are joined while their columns fit one vector: a depthwise layer would otherwise fill
    one column in sixteen.
    """
    count, outputs, planes, inputs, *kernel = parts.shape
    group_outputs = outputs // groups
    joined = max(
        m
        for m in range(1, groups + 1)
        if groups % m == 0 and (m == 1 or m * group_outputs <= _VECTOR)
    )
    merged = groups // joined
    width = -(-joined * group_outputs // _VECTOR) * _VECTOR
    shape = (merged, *kernel, planes, joined * inputs, count * width)
    weights = np.zeros(shape, dtype=np.int64)
    split = parts.reshape(count, merged, joined, group_outputs, planes, inputs, *kernel)
    for part in range(count):
        for j in range(joined):
            first = part * width + j * group_outputs
            # (merged, outputs, planes, inputs, kH, kW) to the order of the result
            block = split[part, :, j].transpose(0, 4, 5, 2, 3, 1)
            weights[..., j * inputs : (j + 1) * inputs, first : first + group_outputs] = block
    return weights, merged


def _choose_lane(weights: IntArray, tables: IntArray, *, vnni: bool) -> Lane:
    """The narrowest lane in which no product and no partial sum can overflow.

    All partial sums lie between the sum of all negative and that of all positive products, so
    they are held by a bound on the sum of magnitudes.
    """
    spans = tables.max(axis=1) - tables.min(axis=1)
    if (
        vnni
        and _fits(weights, 8)
        and int(spans.max()) < 1 << 8
        and _reach(weights, spans) < 1 << 31
    ):
        return Lane.VNNI
    magnitudes = np.abs(tables).max(axis=1)
    narrow = _fits(weights, 32) and int(magnitudes.max()) < 1 << 31
    if narrow and _reach(weights, magnitudes) < 1 << 31:
        return Lane.INT32
    return Lane.INT64


def _fits(values: IntArray, bits: int) -> bool:
    return int(values.min()) >= -(1 << bits - 1) and int(values.max()) < 1 << bits - 1


def _reach(weights: IntArray, magnitudes: IntArray) -> int:
    """Largest sum of products' magnitudes over all columns, in Python's integers."""
    reach = np.zeros((weights.shape[0], weights.shape[-1]), dtype=object)
    for plane, magnitude in enumerate(magnitudes):
        total = np.abs(weights[:, :, :, plane]).sum(axis=(1, 2, 3))
        reach += total.astype(object) * int(magnitude)
    return int(reach.max())
