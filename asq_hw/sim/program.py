"""What the kernels read: a network as tables of named integers and flat arrays of constants.

One record describes one layer; kernels take a record, the constants that its ``..._at`` fields
point into, and the memory that its ``source`` and ``destination`` fields point into. All feature
maps and activation codes are channels-last, ``(H, W, C)``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CONV",
    "ELEMENTWISE",
    "INPUT",
    "PIXEL_TILE",
    "POOL",
    "STAGE",
    "STEP",
    "Finish",
    "Kind",
    "Lane",
    "Memory",
    "Method",
    "Program",
    "Statistic",
]

PIXEL_TILE = 8
"""Output pixels that the dot products compute at once; a larger tile spills registers."""


class Method(IntEnum):
    """How dot products in the lane of bytes are computed."""

    QUADS = 0
    """Four codes that stand side by side at once, for any kernel, stride and groups."""
    WINOGRAD = 1
    """Through 16 products of transformed pieces: 3 x 3 with stride 1, where bounds allow it."""
    TAPS = 2
    """Channel by channel, for depthwise layers."""


class Finish(IntEnum):
    """How sums in the lane of bytes are requantized; the results are the same."""

    WIDE = 0
    """Products of 64 bits."""
    SPLIT = 1
    """Two products of 32 bits, where bounds allow it."""
    HALVES = 2
    """The same for pairs of sums that fit 16 bits and share a lane."""


class Kind(IntEnum):
    """What a step of the program computes; every kind has a table of its own."""

    INPUT = 0
    CONV = 1
    ADD = 2
    RELU = 3
    FLATTEN = 4
    MAX_POOL = 5
    AVERAGE_POOL = 6


class Lane(IntEnum):
    """Integers that a layer's dot products are computed in; bounds prove that they are enough."""

    INT8 = 0
    """Codes uint8, weights int8, sums int32, requantization of 32 by 32 bits."""
    INT32 = 1
    INT64 = 2


class Statistic(IntEnum):
    """Columns of the statistics, which stand apart for each sample and layer."""

    SATURATED = 0
    CLIPPED = 1
    TIES = 2
    STEP_SIZE = 3
    SMALLEST = 4
    LARGEST = 5


def _record(fields: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in fields.split()])


STEP = _record("kind index layer")
INPUT = _record("destination channels pixels multiplier_at offset_at shift low high")
ELEMENTWISE = _record("source other destination channels pixels low high floor ceiling")
POOL = _record(
    "source destination channels height width out_height out_width kernel_height kernel_width "
    "stride_y stride_x padding_y padding_x multiplier shift low high"
)
STAGE = _record("inputs outputs weight_at bias_at multiplier shift minimum maximum")
CONV = _record(
    # source and quantizer
    "source channels height width step_size stage stages pool_multiplier pool_shift pool_pixels "
    "pooled step_fraction_bits code_low code_high "
    # codes: one byte each in `indices` (q - code_low), then `planes` values in a padded map
    "indices lane codes padded_width padding_y padding_x planes plane_at "
    # dot products
    "groups group_channels group_outputs columns width_out quads quads_at pixels pixels_at block "
    "weights starts_at pair "
    # dot products in the lane of bytes
    "method places_at tiles tiles_across transformed_row transform_offset run "
    # requantization
    "finish split_bits pixels_at_once multiplier_at bias_at biases_at narrow_shift fraction_bits "
    "shift low high floor ceiling destination out_channels accumulators pools"
)


class Program(NamedTuple):
    """A network ready to run: read-only, shared by all threads."""

    steps: NDArray[np.void]
    inputs: NDArray[np.void]
    convs: NDArray[np.void]
    elementwise: NDArray[np.void]
    pools: NDArray[np.void]
    stages: NDArray[np.void]
    constants: NDArray[np.int64]
    starts: NDArray[np.int32]
    starts16: NDArray[np.int16]
    biases: NDArray[np.int32]
    adapters: NDArray[np.int8]
    weights8: NDArray[np.int8]
    weights32: NDArray[np.int32]
    weights64: NDArray[np.int64]


class Memory(NamedTuple):
    """What one thread works in.

    The first three have one row; where intermediate tensors are kept, one for each sample of
    a batch.
    """

    maps: NDArray[np.signedinteger]
    """int16 where every feature map of the network fits, else int32."""
    indices: NDArray[np.uint8]
    accumulators: NDArray[np.int64]
    codes8: NDArray[np.uint8]
    codes32: NDArray[np.int32]
    codes64: NDArray[np.int64]
    sums32: NDArray[np.int32]
    sums64: NDArray[np.int64]
    transformed: NDArray[np.uint8]
    products: NDArray[np.int32]
    multipliers: NDArray[np.int64]
    multipliers32: NDArray[np.int32]
    pooled: NDArray[np.int64]
    """Sums of channels that layers leave for the adapters behind them."""
    vectors: NDArray[np.int64]
    """Scratch, (2, size), for sums of channels and for adapters."""
    halves: NDArray[np.int32]
    """The same for an adapter's inputs in two parts."""
    stop: NDArray[np.uint8]
    """(1,): set by another thread where the run shall end; the results are then of no use."""
