"""Dot products of bytes, a tile at a time.

A tile is `PIXEL_TILE` output pixels times one or two vectors of output columns; its sums stay in
registers while the loop walks the quads, groups of four codes that stand side by side in memory.
Sums are stored as (vectors, pixels, 16).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from asq_hw.sim.instruction_sets import LANES, Avx2, Vnni
from asq_hw.sim.kernels import dot_tiles_avx2
from asq_hw.sim.kernels.llvm import (
    I8,
    I32,
    I64,
    Emitter,
    argument_type,
    join_sums,
    kernel,
    unpack,
    vector,
)
from asq_hw.sim.program import PIXEL_TILE

__all__ = ["Tile", "dot_1", "dot_2", "dot_halves", "store_sums", "window_addresses"]

_SUMS, _BYTES = vector(I32), vector(I8, 4 * LANES)


class Tile(NamedTuple):
    """What a tile of V vectors reads and writes."""

    codes: int
    """Address of uint8."""
    windows: int
    """Address of int64 (PIXEL_TILE,): where each output pixel's window starts."""
    quads: int
    """Address of int64 (quad_count,): where each quad stands in a window."""
    quad_count: int
    """At least 1."""
    weights: int
    """Address of int8 (V, quad_count, 16, 4)."""
    corrections: int
    """Address of int32 (V, 16): what sums begin with."""
    sums: int
    """Address of int32: where the first pixel's sums go."""
    stride: int
    """Sums from one vector to the next."""
    run: int
    """Quads whose sums fit 16 bits, counted from any multiple of it; 0 or 1 where there are none
    to speak of. Only AVX2 reads it."""


def _make_tile(vectors: int, *, joined: bool = False) -> Any:
    """The kernel for `vectors` times 16 output columns.

    ``sums[j, i] = corrections[j] + sum over k, b of
    codes[windows[i] + quads[k] + b] * weights[j, k, b]``

    Where `joined`, the sums of two vectors, which must fit 16 bits, share lanes.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
        Portable makes no code.
    tile : Tile
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form, emit = signature.args[0].instance_class, Emitter(builder)
        at = unpack(Tile, builder, args[1])
        if form is Avx2:
            dot_tiles_avx2.emit_tile(emit, vectors, at, joined=joined)
        elif form is Vnni:
            _emit_tile(emit, vectors, at, joined=joined)
        return context.get_dummy_value()

    def dot(typingctx: Any, form: Any, tile: Any) -> Any:
        return numba.void(form, argument_type(Tile)), generate

    return kernel(dot)


def _emit_tile(emit: Emitter, vectors: int, at: Any, *, joined: bool) -> None:
    """The form with VNNI; `at` is a `Tile` of LLVM's values."""
    builder = emit.builder
    windows = window_addresses(emit, at.codes, at.windows, range(PIXEL_TILE))
    panels = [
        emit.offset(at.weights, builder.mul(at.quad_count, I64(j)), 4 * LANES)
        for j in range(vectors)
    ]
    first = [emit.load(emit.offset(at.corrections, j, 4 * LANES), _SUMS) for j in range(vectors)]

    def step(k: Any, totals: list[Any]) -> list[Any]:
        emit.fence()
        columns = [emit.load(emit.offset(panel, k, 4 * LANES), _BYTES) for panel in panels]
        place = emit.load(emit.offset(at.quads, k, 8), I64)
        following = []
        for i, window in enumerate(windows):
            quad = emit.splat(emit.load(builder.add(window, place), I32))
            repeated = builder.bitcast(quad, _BYTES)
            following += [
                _dot(emit, totals[i * vectors + j], repeated, columns[j]) for j in range(vectors)
            ]
        return following

    totals = emit.loop(at.quad_count, first * PIXEL_TILE, step)
    for pixel in range(PIXEL_TILE):
        parts = totals[vectors * pixel : vectors * (pixel + 1)]
        for j, total in enumerate([join_sums(emit, *parts)] if joined else parts):
            store_sums(emit, total, at, j, pixel)


def _dot(emit: Emitter, sums: Any, codes: Any, weights: Any) -> Any:
    """``vpdpbusd``: in each of 16 lanes, four products of an unsigned and a signed byte are added.

    Nothing saturates, so that the sum is exact modulo 2**32.
    """
    return emit.call("llvm.x86.avx512.vpdpbusd.512", _SUMS, [sums, codes, weights])


def window_addresses(emit: Emitter, codes: Any, windows: Any, numbers: range) -> list[Any]:
    """Addresses of some of a tile's windows.

    Parameters
    ----------
    emit : Emitter
        Where instructions are added.
    codes : LLVM value
        Address of the codes.
    windows : LLVM value
        Address of each window's offset from there, int64.
    numbers : range
        Which windows.
    """
    places = [emit.load(emit.offset(windows, i, 8), I64) for i in numbers]
    return [emit.builder.add(codes, place) for place in places]


def store_sums(emit: Emitter, total: Any, at: Any, number: int, pixel: int) -> None:
    """Store a pixel's register of vector `number` among a tile's sums.

    Parameters
    ----------
    emit : Emitter
        Where instructions are added.
    total : LLVM value
        Register of 16 sums of 32 bits.
    at : Tile of LLVM values
        Where the tile's sums are, and how far apart.
    number : int
        Vector of output channels.
    pixel : int
        Pixel of the tile.
    """
    start = emit.offset(at.sums, emit.builder.mul(at.stride, I64(number)), 4)
    emit.store(total, emit.offset(start, pixel, 4 * LANES))


dot_1 = _make_tile(1)
dot_2 = _make_tile(2)
dot_halves = _make_tile(2, joined=True)
