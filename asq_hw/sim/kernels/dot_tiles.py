"""Dot products of bytes, a tile at a time.

A tile is `PIXEL_TILE` output pixels times one or two vectors of output columns; its sums stay in
registers while the loop walks the quads, groups of four codes that stand side by side in memory.
Sums are stored as (vectors, pixels, 16).
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numba
from numba.extending import intrinsic

from asq_hw.sim.instruction_sets import LANES, Avx2, Portable, Vnni
from asq_hw.sim.kernels import dot_tiles_avx2
from asq_hw.sim.kernels.llvm import I8, I16, I32, I64, Emitter, join_sums, vector
from asq_hw.sim.program import PIXEL_TILE

__all__ = ["dot_1", "dot_2", "dot_halves", "taps_1", "taps_2"]

_SUMS, _BYTES = vector(I32), vector(I8, 4 * LANES)
_TAP_LANES = 2 * LANES
"""Channels of a tile without sums over channels."""
_TAP_PARTS = {Vnni: (PIXEL_TILE, _TAP_LANES), Avx2: (PIXEL_TILE // 2, LANES)}
"""Pixels and channels of such a tile that the registers hold at once."""


def _dot(emit: Emitter, sums: Any, codes: Any, weights: Any) -> Any:
    """``vpdpbusd``: in each of 16 lanes, four products of an unsigned and a signed byte are added.

    Nothing saturates, so that the sum is exact modulo 2**32.
    """
    return emit.call("llvm.x86.avx512.vpdpbusd.512", _SUMS, [sums, codes, weights])


def _windows(emit: Emitter, codes: Any, pixels: Any, numbers: range) -> list[Any]:
    """Addresses of a tile's windows."""
    places = [emit.load(emit.offset(pixels, i, 8), I64) for i in numbers]
    return [emit.builder.add(codes, place) for place in places]


def _store(emit: Emitter, total: Any, sums: Any, stride: Any, vector: int, pixel: int) -> None:
    """Store a register among sums that stand as (vectors, pixels, 16)."""
    start = emit.offset(sums, emit.builder.mul(stride, I64(vector)), 4)
    emit.store(total, emit.offset(start, pixel, 4 * LANES))


def _make_tile(vectors: int, *, joined: bool = False) -> Any:
    """The kernel for `vectors` times 16 output columns; it takes addresses and counts.

    ``sums[j, i] = starts[j] + sum over k, b of codes[pixels[i] + quads[k] + b] * weights[j, k, b]``

    Where `joined`, the sums of two vectors, which must fit 16 bits, share lanes.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
        Portable makes no code.
    codes : address of uint8
    pixels : address of int64 (PIXEL_TILE,)
        Where each output pixel's window starts.
    quads : address of int64 (count,)
        Where each quad stands in a window.
    count : number of quads, at least 1
    weights : address of int8 (vectors, count, 16, 4)
    starts : address of int32 (vectors, 16)
    sums : address of int32
        Where the first pixel's sums go.
    stride : number of sums from one vector to the next
    run : number of quads whose sums fit 16 bits, counted from any multiple of it
        Only Avx2 reads it; 0 or 1 where there are none to speak of.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form, emit = signature.args[0].instance_class, Emitter(builder)
        if form is Avx2:
            dot_tiles_avx2.emit_tile(emit, vectors, args[1:], joined=joined)
        elif form is Vnni:
            _emit_tile(emit, vectors, args[1:-1], joined=joined)
        return context.get_dummy_value()

    def tile(
        typingctx: Any,
        form: Any,
        codes: Any,
        pixels: Any,
        quads: Any,
        count: Any,
        weights: Any,
        starts: Any,
        sums: Any,
        stride: Any,
        run: Any,
    ) -> Any:
        return numba.void(form, *[numba.int64] * 9), generate

    return intrinsic(tile)


def _emit_tile(emit: Emitter, vectors: int, arguments: list[Any], *, joined: bool) -> None:
    """The form with VNNI."""
    codes, pixels, quads, count, weights, starts, sums, stride = arguments
    builder = emit.builder
    windows = _windows(emit, codes, pixels, range(PIXEL_TILE))
    panels = [emit.offset(weights, builder.mul(count, I64(j)), 4 * LANES) for j in range(vectors)]
    first = [emit.load(emit.offset(starts, j, 4 * LANES), _SUMS) for j in range(vectors)]

    def step(k: Any, totals: list[Any]) -> list[Any]:
        emit.fence()
        columns = [emit.load(emit.offset(panel, k, 4 * LANES), _BYTES) for panel in panels]
        place = emit.load(emit.offset(quads, k, 8), I64)
        following = []
        for i, window in enumerate(windows):
            quad = emit.splat(emit.load(builder.add(window, place), I32))
            repeated = builder.bitcast(quad, _BYTES)
            following += [
                _dot(emit, totals[i * vectors + j], repeated, columns[j]) for j in range(vectors)
            ]
        return following

    totals = emit.loop(count, first * PIXEL_TILE, step)
    for pixel in range(PIXEL_TILE):
        parts = totals[vectors * pixel : vectors * (pixel + 1)]
        for j, total in enumerate([join_sums(emit, *parts)] if joined else parts):
            _store(emit, total, sums, stride, j, pixel)


def _interleave(emit: Emitter, even: Any, odd: Any, first: int) -> Any:
    """16 lanes of 32 bits, each made of the same lane of two vectors of 16 bits."""
    lanes = even.type.count
    places = [part + first + lane for lane in range(LANES) for part in (0, lanes)]
    shuffled = emit.builder.shuffle_vector(even, odd, vector(I32, 2 * LANES)(places))
    return emit.builder.bitcast(shuffled, _SUMS)


def _make_taps(parts: int) -> Any:
    """The kernel of a convolution in which every channel stands for itself, 32 channels wide.

    ``sums[p, i, c] = starts[p, c] + sum over k of codes[pixels[i] + taps[k] + c] * w[k, p, c]``

    The sums are computed in 16 bits, which the weights' bounds must allow. Parameters are as
    above but for `weights`, an address of int8 (count, parts, 32), and `starts`, of int16
    (parts, 32); there is no `run`. Two vectors of sums are stored; those of two parts share lanes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form = signature.args[0].instance_class
        if form is not Portable:
            pixels, lanes = _TAP_PARTS[form]
            for first in range(0, PIXEL_TILE, pixels):
                for channel in range(0, _TAP_LANES, lanes):
                    numbers = range(first, first + pixels)
                    _emit_taps(Emitter(builder), parts, numbers, channel, lanes, args[1:])
        return context.get_dummy_value()

    def tile(
        typingctx: Any,
        form: Any,
        codes: Any,
        pixels: Any,
        taps: Any,
        count: Any,
        weights: Any,
        starts: Any,
        sums: Any,
        stride: Any,
    ) -> Any:
        return numba.void(form, *[numba.int64] * 8), generate

    return intrinsic(tile)


def _emit_taps(
    emit: Emitter, parts: int, numbers: range, channel: int, lanes: int, arguments: list[Any]
) -> None:
    """Some of a tile's pixels, and `lanes` of its channels from `channel` on."""
    codes, pixels, taps, count, weights, starts, sums, stride = arguments
    builder = emit.builder
    windows = _windows(emit, emit.offset(codes, channel), pixels, numbers)
    words, octets = vector(I16, lanes), vector(I8, lanes)

    def step(k: Any, totals: list[Any]) -> list[Any]:
        start = emit.offset(emit.offset(weights, k, parts * _TAP_LANES), channel)
        factors = [
            builder.sext(emit.load(emit.offset(start, p, _TAP_LANES), octets), words)
            for p in range(parts)
        ]
        place = emit.load(emit.offset(taps, k, 8), I64)
        following = []
        for i, window in enumerate(windows):
            values = builder.zext(emit.load(builder.add(window, place), octets), words)
            following += [
                builder.add(totals[i * parts + p], builder.mul(values, factors[p]))
                for p in range(parts)
            ]
        return following

    begin = [
        emit.load(emit.offset(emit.offset(starts, p, 2 * _TAP_LANES), channel, 2), words)
        for p in range(parts)
    ]
    totals = emit.loop(count, begin * len(numbers), step)
    for (i, pixel), first in product(enumerate(numbers), range(0, lanes, LANES)):
        pair = totals[parts * i : parts * (i + 1)]
        if parts == 2:
            total = _interleave(emit, pair[0], pair[1], first)
        else:
            total = builder.sext(emit.part(pair[0], first), _SUMS)
        _store(emit, total, sums, stride, (channel + first) // LANES, pixel)


dot_1 = _make_tile(1)
dot_2 = _make_tile(2)
dot_halves = _make_tile(2, joined=True)
taps_1 = _make_taps(1)
taps_2 = _make_taps(2)
