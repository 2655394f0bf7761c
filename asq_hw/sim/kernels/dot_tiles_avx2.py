"""The tiles of `asq_hw.sim.kernels.dot_tiles` in the instructions of AVX2, with the same sums.

AVX2 has no instruction that adds products of bytes to 32 bits. It has one that adds two of them
in 16 bits, and saturates. So products are added in 16 bits for as many quads as the layer's own
weights and codes allow, its `run`, and every run's sum is then added in 32 bits. Where not even two
quads fit, bytes are widened: products of 16 bits are added exactly, in pairs, in 32.

Half as many registers hold half as many sums each, so that a tile is computed in parts of
`_PIXELS` pixels and 16 columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asq_hw.sim.instruction_sets import LANES
from asq_hw.sim.kernels.llvm import I8, I16, I32, I64, Emitter, join_sums, vector
from asq_hw.sim.program import PIXEL_TILE

__all__ = ["emit_tile"]

_PIXELS = 4
"""Pixels whose sums, 16 columns of them, stay in registers together with what is multiplied."""
_LANES = LANES // 2
"""Sums of 32 bits in a register."""
_SUMS, _WORDS, _BYTES = vector(I32, _LANES), vector(I16, 2 * _LANES), vector(I8, 4 * _LANES)
_HALVES = (0, 1)
"""Registers of 8 columns each."""


def emit_tile(emit: Emitter, vectors: int, at: Any, *, joined: bool) -> None:
    """Emit a tile of `vectors` times 16 columns.

    Parameters
    ----------
    emit : Emitter
        Where instructions are added.
    vectors : int
        Vectors of output channels.
    at : Tile of LLVM values
        What is multiplied, and where the sums go.
    joined : bool
        Whether the two vectors are halves of one.
    """
    builder = emit.builder
    parts = PIXEL_TILE // _PIXELS

    def part(number: Any, _: list[Any]) -> list[Any]:
        j, first = builder.udiv(number, I64(parts)), builder.urem(number, I64(parts))
        first = builder.mul(first, I64(_PIXELS))
        totals = _part_sums(emit, j, first, at)
        if joined:  # the vectors are two, and j is 0
            others = _part_sums(emit, I64(1), first, at)
            pairs = zip(totals, others, strict=True)
            totals = [join_sums(emit, even, odd) for even, odd in pairs]
        out = emit.offset(emit.offset(at.sums, builder.mul(at.stride, j), 4), first, 4 * LANES)
        for i, total in enumerate(totals):
            emit.store(total, emit.offset(out, i, 4 * _LANES))
        return []

    emit.loop(I64(parts if joined else vectors * parts), [], part)


def _part_sums(emit: Emitter, j: Any, first: Any, at: Any) -> list[Any]:
    """Sums of vector j and `_PIXELS` pixels from `first` on, as registers (pixels, halves)."""
    builder = emit.builder
    begin, panel = emit.offset(at.windows, first, 8), builder.mul(at.quad_count, j)
    places = [emit.load(emit.offset(begin, i, 8), I64) for i in range(_PIXELS)]
    windows = [builder.add(at.codes, place) for place in places]
    load = _loader(emit, windows, at.quads, emit.offset(at.weights, panel, 4 * LANES))
    row = emit.offset(at.corrections, j, 4 * LANES)
    initial = [emit.load(emit.offset(row, half, 4 * _LANES), _SUMS) for half in _HALVES] * _PIXELS
    ends = []
    with builder.if_else(builder.icmp_signed(">", at.run, I64(1))) as branches:
        for branch, emitted in zip(branches, (_sums_of_runs, _widened_sums), strict=True):
            with branch:
                ends.append((emitted(emit, load, at, initial), builder.block))
    totals = []
    for values in zip(*(results for results, _ in ends), strict=True):
        totals.append(builder.phi(_SUMS))
        for value, (_, block) in zip(values, ends, strict=True):
            totals[-1].add_incoming(value, block)
    return totals


Loader = Callable[[Any], tuple[list[Any], list[Any]]]
"""From the number of a quad: each pixel's codes, four times eight bytes, and the weights."""


def _loader(emit: Emitter, windows: list[Any], quads: Any, panel: Any) -> Loader:
    builder = emit.builder

    def load(k: Any) -> tuple[list[Any], list[Any]]:
        start = emit.offset(panel, k, 4 * LANES)
        columns = [emit.load(emit.offset(start, half, 4 * _LANES), _BYTES) for half in _HALVES]
        place = emit.load(emit.offset(quads, k, 8), I64)
        repeated = [
            emit.splat(emit.load(builder.add(window, place), I32), _LANES) for window in windows
        ]
        return [builder.bitcast(codes, _BYTES) for codes in repeated], columns

    return load


def _sums_of_runs(emit: Emitter, load: Loader, at: Any, first: list[Any]) -> list[Any]:
    """Sums from `first` on, a run after the other; the processor's stack holds them meanwhile."""
    builder = emit.builder
    zero, ones = emit.constant(0, I16, 2 * _LANES), emit.constant(1, I16, 2 * _LANES)

    def one_run(number: Any, totals: list[Any]) -> list[Any]:
        start = builder.mul(number, at.run)
        size = emit.minimum(at.run, builder.sub(at.quad_count, start))

        def step(k: Any, words: list[Any]) -> list[Any]:
            codes, columns = load(builder.add(start, k))
            pairs = [
                emit.call("llvm.x86.avx2.pmadd.ub.sw", _WORDS, [code, column])
                for code in codes
                for column in columns
            ]
            return [builder.add(word, pair) for word, pair in zip(words, pairs, strict=True)]

        words = emit.loop(size, [zero] * len(_HALVES) * _PIXELS, step)
        added = [emit.call("llvm.x86.avx2.pmadd.wd", _SUMS, [word, ones]) for word in words]
        return [builder.add(a, b) for a, b in zip(totals, added, strict=True)]

    runs = builder.sdiv(builder.add(at.quad_count, builder.sub(at.run, I64(1))), at.run)
    return emit.loop(runs, first, one_run)


def _widened_sums(emit: Emitter, load: Loader, at: Any, first: list[Any]) -> list[Any]:
    """Sums from `first` on: of the first and third codes' products, then of the other two."""
    builder = emit.builder
    by_8, low = emit.constant(8, I16, 2 * _LANES), emit.constant(255, I16, 2 * _LANES)

    def step(k: Any, totals: list[Any]) -> list[Any]:
        codes, columns = ([builder.bitcast(value, _WORDS) for value in side] for side in load(k))
        factors = [
            (builder.ashr(builder.shl(column, by_8), by_8), builder.ashr(column, by_8))
            for column in columns
        ]
        following = []
        for i, code in enumerate(codes):
            values = builder.and_(code, low), builder.lshr(code, by_8)
            for half, pair in enumerate(factors):
                total = totals[i * len(_HALVES) + half]
                for value, factor in zip(values, pair, strict=True):
                    added = emit.call("llvm.x86.avx2.pmadd.wd", _SUMS, [value, factor])
                    total = builder.add(total, added)
                following.append(total)
        return following

    return emit.loop(at.quad_count, first, step)
