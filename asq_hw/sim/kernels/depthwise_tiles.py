"""Tiles of convolutions in which every channel stands for itself.

A tile is `PIXEL_TILE` output pixels times 32 channels; sums are computed in 16 bits, which the
weights' bounds must allow.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numba

from asq_hw.sim.instruction_sets import LANES, Avx2, Portable, Vnni
from asq_hw.sim.kernels.dot_tiles import store_sums, window_addresses
from asq_hw.sim.kernels.llvm import (
    I8,
    I16,
    I32,
    I64,
    Emitter,
    argument_type,
    kernel,
    unpack,
    vector,
)
from asq_hw.sim.program import PIXEL_TILE

__all__ = ["DepthwiseTile", "depthwise_1", "depthwise_2"]

_SUMS = vector(I32)
_CHANNELS = 2 * LANES
_AT_ONCE = {Vnni: (PIXEL_TILE, _CHANNELS), Avx2: (PIXEL_TILE // 2, LANES)}
"""Pixels and channels of a tile that the registers hold at once."""


class DepthwiseTile(NamedTuple):
    """What a tile of P parts reads and writes."""

    codes: int
    """Address of uint8."""
    windows: int
    """Address of int64 (PIXEL_TILE,): where each output pixel's window starts."""
    taps: int
    """Address of int64 (tap_count,): where each tap of the kernel stands in a window."""
    tap_count: int
    """At least 1."""
    weights: int
    """Address of int8 (tap_count, P, 32)."""
    corrections: int
    """Address of int16 (P, 32): what sums begin with."""
    sums: int
    """Address of int32: where the first pixel's sums go, two vectors; those of two parts share
    lanes."""
    stride: int
    """Sums from one vector to the next."""


def _make_tile(parts: int) -> Any:
    """The kernel for sums of one part or two.

    ``sums[p, i, c] = corrections[p, c] + sum over k of
    codes[windows[i] + taps[k] + c] * weights[k, p, c]``

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
        Portable makes no code.
    tile : DepthwiseTile
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form = signature.args[0].instance_class
        if form is not Portable:
            at = unpack(DepthwiseTile, builder, args[1])
            pixels, lanes = _AT_ONCE[form]
            for first in range(0, PIXEL_TILE, pixels):
                for channel in range(0, _CHANNELS, lanes):
                    numbers = range(first, first + pixels)
                    channels = range(channel, channel + lanes)
                    _emit_part(Emitter(builder), parts, numbers, channels, at)
        return context.get_dummy_value()

    def dot(typingctx: Any, form: Any, tile: Any) -> Any:
        return numba.void(form, argument_type(DepthwiseTile)), generate

    return kernel(dot)


def _emit_part(emit: Emitter, parts: int, numbers: range, channels: range, at: Any) -> None:
    """Some of a tile's pixels and channels; `at` is a `DepthwiseTile` of LLVM's values."""
    builder, channel, lanes = emit.builder, channels.start, len(channels)
    windows = window_addresses(emit, emit.offset(at.codes, channel), at.windows, numbers)
    words, octets = vector(I16, lanes), vector(I8, lanes)

    def step(k: Any, totals: list[Any]) -> list[Any]:
        start = emit.offset(emit.offset(at.weights, k, parts * _CHANNELS), channel)
        factors = [
            builder.sext(emit.load(emit.offset(start, p, _CHANNELS), octets), words)
            for p in range(parts)
        ]
        place = emit.load(emit.offset(at.taps, k, 8), I64)
        following = []
        for i, window in enumerate(windows):
            values = builder.zext(emit.load(builder.add(window, place), octets), words)
            following += [
                builder.add(totals[i * parts + p], builder.mul(values, factors[p]))
                for p in range(parts)
            ]
        return following

    begin = [
        emit.load(emit.offset(emit.offset(at.corrections, p, 2 * _CHANNELS), channel, 2), words)
        for p in range(parts)
    ]
    totals = emit.loop(at.tap_count, begin * len(numbers), step)
    for (i, pixel), first in product(enumerate(numbers), range(0, lanes, LANES)):
        pair = totals[parts * i : parts * (i + 1)]
        if parts == 2:
            total = _interleave(emit, pair[0], pair[1], first)
        else:
            total = builder.sext(emit.part(pair[0], first), _SUMS)
        store_sums(emit, total, at, (channel + first) // LANES, pixel)


def _interleave(emit: Emitter, even: Any, odd: Any, first: int) -> Any:
    """16 lanes of 32 bits, each made of the same lane of two vectors of 16 bits."""
    lanes = even.type.count
    places = [part + first + lane for lane in range(LANES) for part in (0, lanes)]
    shuffled = emit.builder.shuffle_vector(even, odd, vector(I32, 2 * LANES)(places))
    return emit.builder.bitcast(shuffled, _SUMS)


depthwise_1 = _make_tile(1)
depthwise_2 = _make_tile(2)
