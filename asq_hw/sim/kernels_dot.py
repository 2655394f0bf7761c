"""Dot products of bytes, a tile at a time.

A tile is `PIXEL_TILE` output pixels times one or two vectors of output columns; its sums stay in
registers while the loop walks the quads, groups of four codes that stand side by side in memory.
Sums are stored as (vectors, pixels, 16).
"""

from __future__ import annotations

from typing import Any

import numba
from numba.extending import intrinsic

from asq_hw.sim.program import PIXEL_TILE, VECTOR, Vnni
from asq_hw.sim.vectors import I8, I16, I32, I64, Emitter, vector

__all__ = ["dot_1", "dot_2", "dot_halves", "taps_1", "taps_2"]

_SUMS, _BYTES = vector(I32), vector(I8, 4 * VECTOR)
_TAP_LANES = 2 * VECTOR
"""Channels of a tile without sums over channels."""


def _dot(emit: Emitter, sums: Any, codes: Any, weights: Any) -> Any:
    """``vpdpbusd``: in each of 16 lanes, four products of an unsigned and a signed byte are added.

    Nothing saturates, so that the sum is exact modulo 2**32.
    """
    return emit.call("llvm.x86.avx512.vpdpbusd.512", _SUMS, [sums, codes, weights])


def _windows(emit: Emitter, codes: Any, pixels: Any) -> list[Any]:
    """Addresses of a tile's windows."""
    places = [emit.load(emit.offset(pixels, i, 8), I64) for i in range(PIXEL_TILE)]
    return [emit.builder.add(codes, place) for place in places]


def _store_tile(emit: Emitter, totals: list[Any], sums: Any, stride: Any) -> None:
    """Store (pixels, vectors) registers as (vectors, pixels, 16)."""
    vectors = len(totals) // PIXEL_TILE
    for number, total in enumerate(totals):
        pixel, j = divmod(number, vectors)
        start = emit.offset(sums, emit.builder.mul(stride, I64(j)), 4)
        emit.store(total, emit.offset(start, pixel, 4 * VECTOR))


def _join(emit: Emitter, even: Any, odd: Any) -> Any:
    """Two sums of 16 bits in the lower and the upper half of each lane."""
    builder = emit.builder
    low = builder.and_(even, emit.constant((1 << 16) - 1, I32))
    return builder.or_(low, builder.shl(odd, emit.constant(16, I32)))


def _make_tile(vectors: int, *, joined: bool = False) -> Any:
    """The kernel for `vectors` times 16 output columns; it takes addresses and counts.

    ``sums[j, i] = starts[j] + sum over k, b of codes[pixels[i] + quads[k] + b] * weights[j, k, b]``

    Where `joined`, the sums of two vectors, which must fit 16 bits, share lanes.

    Parameters of the kernel
    ------------------------
    form : Portable or Vnni
        Only Vnni makes code.
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
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is not Vnni:
            return context.get_dummy_value()
        _, codes, pixels, quads, count, weights, starts, sums, stride = args
        emit = Emitter(builder)
        windows = _windows(emit, codes, pixels)
        panels = [
            emit.offset(weights, builder.mul(count, I64(j)), 4 * VECTOR) for j in range(vectors)
        ]
        first = [emit.load(emit.offset(starts, j, 4 * VECTOR), _SUMS) for j in range(vectors)]

        def step(k: Any, totals: list[Any]) -> list[Any]:
            emit.fence()
            columns = [emit.load(emit.offset(panel, k, 4 * VECTOR), _BYTES) for panel in panels]
            place = emit.load(emit.offset(quads, k, 8), I64)
            following = []
            for i, window in enumerate(windows):
                quad = emit.splat(emit.load(builder.add(window, place), I32))
                repeated = builder.bitcast(quad, _BYTES)
                following += [
                    _dot(emit, totals[i * vectors + j], repeated, columns[j])
                    for j in range(vectors)
                ]
            return following

        totals = emit.loop(count, first * PIXEL_TILE, step)
        if joined:
            totals = [_join(emit, *totals[2 * i : 2 * i + 2]) for i in range(PIXEL_TILE)]
        _store_tile(emit, totals, sums, stride)
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
    ) -> Any:
        return numba.void(form, *[numba.int64] * 8), generate

    return intrinsic(tile)


def _interleave(emit: Emitter, even: Any, odd: Any, first: int) -> Any:
    """16 lanes of 32 bits, each made of the same lane of two vectors of 16 bits."""
    places = [part + first + lane for lane in range(VECTOR) for part in (0, _TAP_LANES)]
    shuffled = emit.builder.shuffle_vector(even, odd, vector(I32, 2 * VECTOR)(places))
    return emit.builder.bitcast(shuffled, _SUMS)


def _make_taps(parts: int) -> Any:
    """The kernel of a convolution in which every channel stands for itself, 32 channels wide.

    ``sums[p, i, c] = starts[p, c] + sum over k of codes[pixels[i] + taps[k] + c] * w[k, p, c]``

    The sums are computed in 16 bits, which the weights' bounds must allow. Parameters are as
    above but for `weights`, an address of int8 (count, parts, 32), and `starts`, of int16
    (parts, 32). Two vectors of sums are stored; those of two parts share lanes.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is not Vnni:
            return context.get_dummy_value()
        _, codes, places, taps, count, weights, starts, sums, stride = args
        emit = Emitter(builder)
        windows = _windows(emit, codes, places)
        words, octets = vector(I16, _TAP_LANES), vector(I8, _TAP_LANES)

        def step(k: Any, totals: list[Any]) -> list[Any]:
            start = emit.offset(weights, k, parts * _TAP_LANES)
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

        begin = [emit.load(emit.offset(starts, p, 2 * _TAP_LANES), words) for p in range(parts)]
        totals = emit.loop(count, begin * PIXEL_TILE, step)
        pixels = [totals[parts * i : parts * (i + 1)] for i in range(PIXEL_TILE)]
        halves = [
            _interleave(emit, pixel[0], pixel[1], first)
            if parts == 2
            else builder.sext(emit.part(pixel[0], first), _SUMS)
            for pixel in pixels
            for first in (0, VECTOR)
        ]
        _store_tile(emit, halves, sums, stride)
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


dot_1 = _make_tile(1)
dot_2 = _make_tile(2)
dot_halves = _make_tile(2, joined=True)
taps_1 = _make_taps(1)
taps_2 = _make_taps(2)
