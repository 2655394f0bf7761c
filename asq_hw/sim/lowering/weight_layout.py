"""A layer's weights in the order in which the kernels read them, and the lists that they walk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.validation import IntArray
from asq_hw.sim.instruction_sets import LANES
from asq_hw.sim.lowering.code_map import CodeMap
from asq_hw.sim.lowering.geometry import geometry
from asq_hw.sim.lowering.memory_plan import transformed_row
from asq_hw.sim.lowering.packing import PackedWeights, transform_weights
from asq_hw.sim.program import PIXEL_TILE, WINOGRAD_PRODUCTS, ComputeType, Method
from asq_hw.sim.records import NO_WINOGRAD, WinogradRecord

__all__ = ["Offsets", "Panels", "arrange", "offset_keys", "quads_in_words"]

_NOT_STORED = -1
_LARGEST_WORD = 2**15 - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panels:
    """What the dot products of one layer read.

    Attributes
    ----------
    weights : array
        In the order of the kernel.
    corrections : array
        What sums begin with, in the order of the sums.
    quads : (quads,) array
        Where quads, or taps, stand in a window.
    windows : array
        Where the windows of output pixels start; of transformed codes, those of one tile.
    outputs : array
        Where the outputs of pixels go, in the order of the sums; negative for none.
    winograd : WinogradRecord
        What Winograd's method needs besides.
    largest : int
        Of bytes, the largest value that is multiplied; no value is negative.
    """

    weights: NDArray[np.signedinteger]
    corrections: IntArray
    quads: IntArray
    windows: IntArray
    outputs: IntArray
    winograd: WinogradRecord = NO_WINOGRAD
    largest: int = 0


class Offsets:
    """Lists of offsets in maps: layers of the same geometry have the same list, the same array."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], IntArray] = {}

    def get(self, key: tuple[int, ...], make: Callable[[], IntArray]) -> IntArray:
        """The list of a geometry, made where there is none yet."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def offset_keys(
    packed: PackedWeights, layer: Conv | Linear, region: CodeMap, shape: tuple[int, int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a layer's lists of windows and of outputs depend on; `arrange` says what they hold.

    Parameters
    ----------
    packed : PackedWeights
        The layer's weights.
    layer : Conv or Linear
        The layer.
    region : CodeMap
        Where its codes stand.
    shape : tuple of int
        Of its output, (O, H, W).
    """
    _, height, width = shape
    if packed.method is Method.WINOGRAD:
        row = transformed_row(packed)
        return (0, row), (0, *shape)
    stride = geometry(layer).stride
    return (1, *stride, height, width, region.width, region.pixel), (1, *shape)


def arrange(
    packed: PackedWeights,
    layer: Conv | Linear,
    region: CodeMap,
    shape: tuple[int, int, int],
    made: Offsets,
) -> Panels:
    """Arrange a layer's weights.

    Parameters
    ----------
    packed : PackedWeights
        The layer's weights.
    layer : Conv or Linear
        The layer.
    region : CodeMap
        Where its codes stand.
    shape : tuple of int
        Of its output, (O, H, W).
    made : Offsets
        Lists of the layers before, which this one may share.
    """
    windows_key, outputs_key = offset_keys(packed, layer, region, shape)
    if packed.method is Method.WINOGRAD:
        windows = made.get(windows_key, lambda: np.arange(PIXEL_TILE) * windows_key[1])
        outputs = made.get(outputs_key, lambda: _winograd_outputs(shape))
    else:
        windows = made.get(windows_key, lambda: _windows(layer, shape, region))
        outputs = made.get(outputs_key, lambda: np.arange(shape[1] * shape[2]) * shape[0])
    match packed.method:
        case Method.WINOGRAD:
            return _arrange_winograd(packed, shape, windows=windows, outputs=outputs)
        case Method.DEPTHWISE:
            return _arrange_depthwise(packed, layer, region, windows, outputs)
        case Method.IMPLICIT_GEMM:
            return _arrange_gemm(packed, layer, region, windows, outputs)
        case _:
            assert_never(packed.method)


def _arrange_gemm(
    packed: PackedWeights,
    layer: Conv | Linear,
    region: CodeMap,
    windows: IntArray,
    outputs: IntArray,
) -> Panels:
    quads, weights = _quads(packed, region, geometry(layer).dilation)
    corrections = packed.corrections
    if packed.compute_type is ComputeType.INT8:
        vectors = corrections.reshape(len(corrections), packed.parts, -1, LANES)
        corrections = vectors.transpose(0, 2, 1, 3)
    return Panels(
        weights=weights,
        corrections=corrections,
        quads=quads,
        windows=windows,
        outputs=outputs,
        largest=int(packed.tables.max()),
    )


def quads_in_words(panels: Panels) -> int:
    """How many quads' products may be added in 16 bits, from any multiple of that number on.

    Of weights in bytes, (..., quads, 16, 4). Each sum of 16 bits is of the products of two weights
    of each quad. It lies between the sum of the negative ones' and that of the positive ones'
    products with the largest value. 0 where there is no such run of two quads.
    """
    if panels.largest == 0 or panels.weights.ndim < 3:
        return 0
    quads = panels.quads.size
    pairs = panels.weights.astype(np.int16).reshape(-1, quads, 2 * LANES, 2)
    ends = [np.zeros((len(pairs), quads + 1, 2 * LANES), dtype=np.int32) for _ in range(2)]
    for end, sign in zip(ends, (1, -1), strict=True):
        part = np.maximum(sign * pairs, 0)
        np.cumsum(part[..., 0] + part[..., 1], axis=1, out=end[:, 1:])
    limit = _LARGEST_WORD // panels.largest
    most = max(int(end[:, -1].max()) for end in ends)
    count = max(-(-most // limit), 1) if limit else quads
    while (run := -(-quads // count)) > 1:
        bounds = [*range(0, quads, run), quads]
        if all(int(np.diff(end[:, bounds], axis=1).max()) <= limit for end in ends):
            return run
        count = max(count + 1, int(count * 1.1))
    return 0


def _quads(
    packed: PackedWeights, region: CodeMap, dilation: tuple[int, int]
) -> tuple[IntArray, NDArray[np.signedinteger[Any]]]:
    """Offsets of the quads in a window, and the weights (groups, ...) in their order.

    Runs of weights whose codes stand side by side are padded with zero weights to whole quads; what
    the padding reads does not matter. In one group a run is a kernel's whole row in a plane, or
    where that has gaps, a pixel.
    """
    groups, _, _, width, inputs, columns = packed.weights.shape
    starts, length = _taps(packed, region, dilation).reshape(-1), inputs
    if groups == 1 and dilation[1] == 1:
        starts, length = starts[::width], width * inputs
    count = -(-length // 4)
    runs = np.zeros((groups, starts.size, 4 * count, columns), dtype=packed.weights.dtype)
    runs[:, :, :length] = packed.weights.reshape(groups, starts.size, length, columns)
    quads = (starts[:, None] + 4 * np.arange(count)).reshape(-1)
    if packed.compute_type is not ComputeType.INT8:
        return quads, runs
    vectors = runs.reshape(groups, quads.size, 4, packed.parts, -1, LANES)
    return quads, vectors.transpose(0, 4, 3, 1, 5, 2)


def _taps(packed: PackedWeights, region: CodeMap, dilation: tuple[int, int]) -> IntArray:
    """Where each plane's taps stand in a window, (planes, kH, kW)."""
    planes, height, width = (np.arange(n, dtype=np.int64) for n in packed.weights.shape[1:4])
    rows = height[:, None] * dilation[0] * region.width + width * dilation[1]
    return np.asarray(planes[:, None, None] * region.plane + rows * region.pixel)


def _windows(layer: Conv | Linear, shape: tuple[int, int, int], region: CodeMap) -> IntArray:
    """Where each output pixel's window corrections; the last is repeated to fill a tile."""
    stride = geometry(layer).stride
    row = region.width * region.pixel
    rows = np.arange(shape[1], dtype=np.int64)[:, None] * stride[0] * row
    outputs = (rows + np.arange(shape[2]) * stride[1] * region.pixel).reshape(-1)
    return np.pad(outputs, (0, -outputs.size % PIXEL_TILE), mode="edge")


def _arrange_depthwise(
    packed: PackedWeights,
    layer: Conv | Linear,
    region: CodeMap,
    windows: IntArray,
    outputs: IntArray,
) -> Panels:
    taps = _taps(packed, region, geometry(layer).dilation).reshape(-1)
    weights = packed.weights.reshape(taps.size, packed.parts, -1, 2 * LANES)
    corrections = packed.corrections.reshape(packed.parts, -1, 2 * LANES)
    return Panels(
        weights=weights.transpose(2, 0, 1, 3),
        corrections=corrections.transpose(1, 0, 2),
        quads=taps,
        windows=windows,
        outputs=outputs,
    )


def _winograd_outputs(shape: tuple[int, int, int]) -> IntArray:
    """Where the four outputs of each tile go."""
    down, across = -(-shape[1] // 2), -(-shape[2] // 2)
    y = 2 * np.arange(down)[:, None, None, None] + np.arange(2)[:, None]
    x = 2 * np.arange(across)[:, None, None] + np.arange(2)
    inside = (y < shape[1]) & (x < shape[2])
    outputs = np.where(inside, (y * shape[2] + x) * shape[0], _NOT_STORED)
    return outputs.reshape(-1).astype(np.int64)


def _arrange_winograd(
    packed: PackedWeights,
    shape: tuple[int, int, int],
    *,
    windows: IntArray,
    outputs: IntArray,
) -> Panels:
    """Weights (pairs, 16, 2, quads, 16, 4): of every pair of vectors, all 16 products.

    A tile's row of transformed codes holds one plane behind the other.
    """
    planes, inputs, columns = packed.weights.shape[1], *packed.weights.shape[4:]
    quads = -(-inputs // 4)
    kernels = packed.weights[0].transpose(0, 3, 4, 1, 2).astype(np.int16)
    count, wide = WINOGRAD_PRODUCTS, -(-columns // (2 * LANES)) * 2 * LANES
    factors = np.zeros((planes, 4 * quads, wide, count), dtype=np.int16)
    made = transform_weights(kernels).reshape(planes, inputs, columns, count)
    factors[:, :inputs, :columns] = made
    if packed.parts == 2:
        pairs = factors.reshape(planes, 4 * quads, 2, -1, LANES, count).transpose(0, 1, 3, 2, 4, 5)
    else:
        pairs = factors.reshape(planes, 4 * quads, -1, 2, LANES, count)
    # What the transform adds to the exact tile of each plane: of its zero point, or the offset.
    offset = 2 * int(packed.tables.max())
    added = np.full((planes, 1, 1, 1, count), offset, dtype=np.int64)
    added[..., 5] = 4 * packed.padding[:, None, None, None]
    corrections = -(pairs.sum(axis=1, dtype=np.int64) * added).sum(axis=0)
    ordered = pairs.reshape(planes * quads, 4, -1, 2, LANES, count).transpose(2, 5, 3, 0, 4, 1)
    starts = np.arange(planes, dtype=np.int64)[:, None] * (transformed_row(packed) // planes)
    down, across = -(-shape[1] // 2), -(-shape[2] // 2)
    return Panels(
        weights=ordered,
        corrections=corrections.transpose(0, 3, 1, 2),
        quads=(starts + 4 * np.arange(quads)).reshape(-1),
        windows=windows,
        outputs=outputs,
        winograd=WinogradRecord(
            tiles=down * across,
            tiles_across=across,
            row=transformed_row(packed),
            offset=offset,
        ),
        largest=2 * offset,
    )
