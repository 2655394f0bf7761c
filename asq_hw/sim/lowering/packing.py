"""A layer's weights in the form that the dot products read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.fixedpoint import (
    SQRT2_FRACTION_BITS,
    SQRT2_MULTIPLIER,
    shift_right_half_up,
    sqrt2_times_pair,
)
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import IntArray
from asq_hw.sim.instruction_sets import LANES
from asq_hw.sim.lowering.geometry import geometry
from asq_hw.sim.lowering.planes import Planes, plane_count, planes_of
from asq_hw.sim.program import ComputeType, Method, Requantization

__all__ = ["WEIGHT_TYPES", "PackedWeights", "pack_weights", "packed_bytes", "transform_weights"]

WEIGHT_TYPES: Mapping[ComputeType, type[np.signedinteger[Any]]] = MappingProxyType(
    {ComputeType.INT8: np.int8, ComputeType.INT32: np.int32, ComputeType.INT64: np.int64}
)
"""What weights are held in."""

WINOGRAD_CHANNELS = 32
"""Fewer inputs or outputs do not fill the 16 matrix products."""
_BEFORE_ROUNDING = (1 << 31) - (1 << SQRT2_FRACTION_BITS)
"""Products with the square root of two stay below, so that rounding them leaves 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedWeights:
    """Planes and weights of one layer.

    Attributes
    ----------
    compute_type : ComputeType
        Integers that hold the planes, the weights and every partial sum.
    method : Method
        How the dot products are computed.
    tables : (planes, 256) array
        What stands in each plane, see `Planes`.
    padding : (planes,) array
        What stands there for codes of 0.
    groups : int
        Groups of the packed form; small groups of the layer are joined, with zeros between.
    weights : (groups, planes, kH, kW, I / groups, columns) array
        Of the compute type's integers. Columns of each part are padded with zeros to whole vectors.
    corrections : (groups, columns) array
        What sums begin with. Bytes are moved so that none is negative, by a zero point: this takes
        its products with the weights back.
    parts : int
        2 where the columns are even parts followed by odd parts.
    requantization : Requantization
        How sums of bytes are requantized.
    split_bits : int
        Lower bits of the multipliers that are multiplied apart, but where `requantization` is WIDE.
    odd_codes : bool
        Whether the second plane holds what odd codes are above the first.
    """

    compute_type: ComputeType
    method: Method
    tables: IntArray
    padding: IntArray
    groups: int
    weights: NDArray[np.signedinteger[Any]]
    corrections: IntArray
    parts: int
    requantization: Requantization
    split_bits: int
    odd_codes: bool

    @property
    def columns(self) -> int:
        """Padded number of sums for each pixel and group."""
        return int(self.weights.shape[-1])


def pack_weights(layer: Conv | Linear, product: Product, *, vectors: bool) -> PackedWeights:
    """Choose planes, groups, compute type and method for `layer`, and arrange its weights.

    Only the kernels made of vectors compute in bytes.
    """
    planes = planes_of(layer, product)
    parts, tables = planes.weights, planes.tables
    groups = geometry(layer).groups
    bounds = _bounds(layer, product) if vectors else None
    if bounds is not None and not _fits_requantization(bounds):
        bounds = None  # no bytes
    split = None if bounds is None else _split_bits(bounds)
    halves = bounds is not None and split is not None and _fits_halves(bounds)
    method = Method.IMPLICIT_GEMM
    if bounds is not None:
        method = _choose_method(layer, planes, halves=halves)
    if method is Method.DEPTHWISE:
        weights, groups = _channel_columns(parts), 1
    else:
        weights, groups = _join_groups(parts, groups)
    kind = _choose_compute_type(weights, tables, bytes_allowed=bounds is not None)
    if kind is not ComputeType.INT8:
        assert method is Method.IMPLICIT_GEMM
    offsets = np.zeros(len(tables), dtype=np.int64)
    if kind is ComputeType.INT8:
        offsets = -tables.min(axis=1)
    corrections = np.zeros((groups, weights.shape[-1]), dtype=np.int64)
    if offsets.any():
        corrections -= np.einsum("gphwic,p->gc", weights, offsets)
    return PackedWeights(
        compute_type=kind,
        method=method,
        tables=tables + offsets[:, None],
        padding=offsets,
        groups=groups,
        weights=weights.astype(WEIGHT_TYPES[kind]),
        corrections=corrections,
        parts=parts.shape[0],
        requantization=_choose_requantization(method, split, halves=halves),
        split_bits=split or 0,
        odd_codes=product.uses_odd_codes(layer.weight_grid),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """Largest magnitudes in a layer's requantization, and the bits that it drops."""

    parts: tuple[int, ...]
    """The sums of products: one, or the even and the odd part."""
    value: int
    """``V``."""
    scale: int
    """``m``."""
    bias: int
    shift: int


def _bounds(layer: Conv | Linear, product: Product) -> _Bounds:
    parts = tuple(bound.magnitude for bound in layer.accumulator_ranges(product))
    fraction = product.fraction_bits(layer.weight_grid)
    largest = int(np.abs(layer.multiplier).max()) * layer.quantizer.step.maximum
    return _Bounds(
        parts=parts,
        value=parts[0] if len(parts) == 1 else sqrt2_times_pair(parts[0], parts[1], fraction) + 1,
        scale=shift_right_half_up(largest, layer.narrow_shift) + 1,
        bias=int(np.abs(layer.bias).max()),
        shift=layer.shift + fraction,
    )


def _fits_requantization(bounds: _Bounds) -> bool:
    """Whether 32 bits hold what the vector code computes in them: all but the one product.

    That is the odd part times eleven bits of the square root, ``V``, ``m``, and the output before
    it is saturated.
    """
    if len(bounds.parts) == 2 and bounds.parts[1] >= 1 << 20:
        return False
    shifted = (bounds.value * bounds.scale >> bounds.shift) + 1 + bounds.bias
    return max(bounds.value, bounds.scale, shifted) < 1 << 31


def _split_bits(bounds: _Bounds) -> int | None:
    """Lower bits k of the multipliers with which 32 bits hold all of a split requantization.

    That is: the odd part times the square root of two before it is rounded, ``V``, the product
    with the lower bits, and the sum that is shifted at last. None where no k will do.
    """
    if len(bounds.parts) == 2 and bounds.parts[1] * SQRT2_MULTIPLIER >= _BEFORE_ROUNDING:
        return None
    value, shift = bounds.value, bounds.shift
    half, most = (1 << shift) >> 1, (1 << 31) - 1
    if half + value > most:
        return None
    split = min(((most - half) // max(value, 1)).bit_length() - 1, shift)
    total = (value * bounds.scale + half >> split) + 1 + (bounds.bias << shift - split)
    return split if total <= most else None


def _fits_halves(bounds: _Bounds) -> bool:
    """Whether there are pairs of sums, 16 bits hold each, and 32 the joined one before rounding."""
    if len(bounds.parts) != 2 or max(bounds.parts) >= 1 << 15:
        return False
    even, odd = bounds.parts
    return (even << SQRT2_FRACTION_BITS) + odd * SQRT2_MULTIPLIER < _BEFORE_ROUNDING


def _choose_requantization(method: Method, split: int | None, *, halves: bool) -> Requantization:
    """The fastest requantization that is exact; Winograd's sums do not share lanes."""
    if split is None:
        return Requantization.WIDE
    if halves and method is not Method.WINOGRAD:
        return Requantization.HALVES
    return Requantization.SPLIT


def _choose_method(layer: Conv | Linear, planes: Planes, *, halves: bool) -> Method:
    """The fastest method that is exact for a layer's weights.

    `halves` says whether pairs of sums can share lanes. Sums of a depthwise layer's few products
    may fit 16 bits. In Winograd's tiles codes grow to four times their span and are bytes still,
    weights must stay in signed bytes, and four times each sum must fit 32 bits; what comes before
    may wrap around.
    """
    parts, spans = planes.weights, planes.spans
    outputs, _, inputs = parts.shape[1:4]
    if not isinstance(layer, Conv) or int(spans.max()) >= 1 << 8:
        return Method.IMPLICIT_GEMM
    reach = int((np.abs(parts).sum(axis=(3, 4, 5)) @ spans).max())
    if inputs == 1 and layer.groups == outputs > 1:
        narrow = fits_bits(parts, 8) and reach < 1 << 15
        return Method.DEPTHWISE if narrow and (halves or len(parts) == 1) else Method.IMPLICIT_GEMM
    if (
        layer.groups == 1
        and layer.weight_codes.shape[2:] == (3, 3)
        and layer.stride == (1, 1)
        and layer.dilation == (1, 1)
        and min(inputs, outputs) >= WINOGRAD_CHANNELS
        and 4 * int(spans.max()) < 1 << 8
        and 4 * reach < 1 << 31
        and fits_bits(parts, 8)
        and fits_bits(transform_weights(parts.astype(np.int16)), 8)
    ):
        return Method.WINOGRAD
    return Method.IMPLICIT_GEMM


def transform_weights(weights: NDArray[np.int16]) -> NDArray[np.int16]:
    """``G w G'`` of kernels (..., 3, 3), (..., 4, 4); see `asq_hw.sim.kernels.winograd`."""
    for axis in (-2, -1):
        a, b, c = (np.take(weights, k, axis) for k in range(3))
        weights = np.stack([2 * a, a + b + c, a - b + c, 2 * c], axis)
    return weights


def _channel_columns(parts: IntArray) -> IntArray:
    """Weights (1, planes, kH, kW, 1, parts * channels) of a depthwise layer."""
    count, channels, planes = parts.shape[:3]
    width = -(-channels // (2 * LANES)) * 2 * LANES
    weights = np.zeros((1, planes, *parts.shape[4:], 1, count, width), dtype=np.int64)
    weights[0, :, :, :, 0, :, :channels] = parts[:, :, :, 0].transpose(2, 3, 4, 0, 1)
    return weights.reshape(*weights.shape[:5], count * width)


def _join_groups(parts: IntArray, groups: int) -> tuple[IntArray, int]:
    """Weights (groups, planes, kH, kW, I / groups, columns) of fewer groups, with zeros between.

    Groups are joined while their columns fit one vector: a depthwise layer would otherwise fill
    one column in sixteen.
    """
    count, outputs, planes, inputs, *kernel = parts.shape
    group_outputs = outputs // groups
    joined, width = _joined_groups(groups, group_outputs)
    merged = groups // joined
    shape = (merged, planes, *kernel, joined * inputs, count * width)
    weights = np.zeros(shape, dtype=np.int64)
    split = parts.reshape(count, merged, joined, group_outputs, planes, inputs, *kernel)
    for part in range(count):
        for j in range(joined):
            first = part * width + j * group_outputs
            # (merged, outputs, planes, inputs, kH, kW) to the order of the result
            block = split[part, :, j].transpose(0, 2, 4, 5, 3, 1)
            weights[..., j * inputs : (j + 1) * inputs, first : first + group_outputs] = block
    return weights, merged


def _joined_groups(groups: int, group_outputs: int) -> tuple[int, int]:
    """How many groups are joined, and the columns that they take in each part."""
    joined = max(
        m
        for m in range(1, min(groups, LANES) + 1)
        if groups % m == 0 and (m == 1 or m * group_outputs <= LANES)
    )
    return joined, -(-joined * group_outputs // LANES) * LANES


def packed_bytes(layer: Conv | Linear, product: Product) -> tuple[int, int]:
    """Bytes that a layer's weights may take while all is made ready, at most, before they do.

    Returns
    -------
    kept, passing : int
        As the kernels read them, with the copies that are joined at last; and while this
        layer is packed.
    """
    grid = layer.weight_grid
    groups, kernel = geometry(layer).groups, geometry(layer).kernel_size
    parts, planes = (2 if product.has_pair(grid) else 1), plane_count(layer, product)
    joined, width = _joined_groups(groups, layer.out_channels // groups)
    inputs = layer.in_channels // groups
    taps = kernel[0] * kernel[1] * planes
    # Runs of a kernel's row, or of a group's inputs, are padded to whole quads.
    quads = groups // joined * taps * (joined * inputs + 3) * parts * width
    depthwise = taps * parts * (-(-layer.out_channels // (2 * LANES)) * 2 * LANES)
    winograd = 16 * planes * -(-inputs // 4) * 4 * parts * width if kernel == (3, 3) else 0
    elements = max(quads, depthwise, winograd)
    narrow = grid.stored_bits <= 8 and not product.uses_lut(grid)
    decoded = layer.weight_codes.size * (2 + parts * planes)
    return (4 if narrow else 32) * elements, 8 * (decoded + 2 * elements)


def _choose_compute_type(
    weights: IntArray, tables: IntArray, *, bytes_allowed: bool
) -> ComputeType:
    """The narrowest integers in which no product and no partial sum can overflow.

    All partial sums lie between the sum of all negative and that of all positive products, so
    they are held by a bound on the sum of magnitudes.
    """
    spans = tables.max(axis=1) - tables.min(axis=1)
    if (
        bytes_allowed
        and fits_bits(weights, 8)
        and int(spans.max()) < 1 << 8
        and _reach(weights, spans) < 1 << 31
    ):
        return ComputeType.INT8
    magnitudes = np.abs(tables).max(axis=1)
    narrow = fits_bits(weights, 32) and int(magnitudes.max()) < 1 << 31
    if narrow and _reach(weights, magnitudes) < 1 << 31:
        return ComputeType.INT32
    return ComputeType.INT64


def fits_bits(values: NDArray[np.signedinteger], bits: int) -> bool:
    """Whether all values are signed integers of so many bits."""
    return int(values.min()) >= -(1 << bits - 1) and int(values.max()) < 1 << bits - 1


def _reach(weights: IntArray, magnitudes: IntArray) -> int:
    """Largest sum of products' magnitudes over all columns, in Python's integers."""
    reach = np.zeros((weights.shape[0], weights.shape[-1]), dtype=object)
    for plane, magnitude in enumerate(magnitudes):
        total = np.abs(weights[:, plane]).sum(axis=(1, 2, 3))
        reach += total.astype(object) * int(magnitude)
    return int(reach.max())
