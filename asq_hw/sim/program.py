"""A program: what the kernels run, what they work in, and the choices that are made for each layer.

One record describes one step, see `asq_hw.sim.records`; kernels take a record, the constants that
its ``..._at`` fields point into, and the memory that its ``source`` and ``destination`` fields
point into. All feature maps and activation codes are channels-last, ``(H, W, C)``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CODE_VALUES",
    "PIXEL_TILE",
    "TRANSFORM_CHANNELS",
    "WINOGRAD_PRODUCTS",
    "ComputeType",
    "Kind",
    "Memory",
    "Method",
    "Program",
    "Requantization",
    "Sample",
    "Statistic",
    "Table",
]

PIXEL_TILE = 8
"""Output pixels that the dot products compute at once; a larger tile spills registers."""

CODE_VALUES = 256
"""Values that ``q - Qn`` can have in a byte, and entries of a plane's table."""

WINOGRAD_PRODUCTS = 16
"""Products of a tile of 2 x 2 outputs: each is a matrix product of its own over the channels."""

TRANSFORM_CHANNELS = 32
"""Channels of codes that Winograd's transform takes at once."""

Table = NDArray[np.record]


class Kind(IntEnum):
    """What a step of the program computes; every kind has a record and a table of its own."""

    INPUT = 0
    CONVOLUTION = 1
    ADD = 2
    RELU = 3
    FLATTEN = 4
    MAX_POOL = 5
    AVERAGE_POOL = 6
    PLACE = 7
    """A map goes into a larger one."""
    PRODUCT = 8
    LOOKUP = 9
    SELECT = 10
    """Some of a map's values become one of their own."""


class ComputeType(IntEnum):
    """Integers that a layer's dot products are computed in; bounds prove that they are enough."""

    INT8 = 0
    """Codes uint8, weights int8, sums int32, requantization of 32 by 32 bits."""
    INT32 = 1
    INT64 = 2


class Method(IntEnum):
    """How dot products of bytes are computed."""

    IMPLICIT_GEMM = 0
    """Four codes that stand side by side at once, for any kernel, stride and groups."""
    WINOGRAD = 1
    """Through 16 products of transformed tiles: 3 x 3 with stride 1, where bounds allow it."""
    DEPTHWISE = 2
    """Channel by channel, for depthwise layers."""


class Requantization(IntEnum):
    """How sums of bytes are requantized; the results are the same."""

    WIDE = 0
    """Products of 64 bits."""
    SPLIT = 1
    """Two products of 32 bits, where bounds allow it."""
    HALVES = 2
    """The same for pairs of sums that fit 16 bits and share a lane."""


class Statistic(IntEnum):
    """Columns of the statistics, which stand apart for each sample and layer."""

    SATURATED = 0
    CLIPPED = 1
    TIES = 2
    STEP_SIZE = 3
    SMALLEST = 4
    LARGEST = 5


class Program(NamedTuple):
    """A network ready to run: read-only, shared by all threads."""

    steps: Table
    inputs: Table
    convolutions: Table
    adds: Table
    places: Table
    selects: Table
    products: Table
    lookups: Table
    relus: Table
    flattens: Table
    max_pools: Table
    average_pools: Table
    stages: Table
    """Stages of all adapters."""
    constants: NDArray[np.int64]
    corrections: NDArray[np.int32]
    """What sums begin with: the zero points' correction."""
    corrections16: NDArray[np.int16]
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
    channel_sums: NDArray[np.int64]
    """What layers leave for the adapters behind them."""
    vectors: NDArray[np.int64]
    """Scratch, (2, size), for sums of channels and for adapters."""
    halves: NDArray[np.int32]
    """The same for an adapter's inputs in two parts."""
    stop: NDArray[np.uint8]
    """(1,): set by another thread where the run shall end; the results are then of no use."""


class Sample(NamedTuple):
    """The image in hand."""

    row: int
    """Its row in the memory."""
    keep: bool
    """Whether intermediate tensors stay."""
    statistics: NDArray[np.int64]
    """The step's, (len(Statistic),)."""
    layers: NDArray[np.int64]
    """The same of all layers, (layers, len(Statistic)); those that ran have theirs."""
