"""Dot products of bytes with AVX-512 VNNI, written as LLVM instructions.

``vpdpbusd`` multiplies four unsigned bytes with four signed ones in each of 16 lanes and adds the
products to a 32-bit sum without saturation. A tile is `PIXEL_TILE` output pixels times 16 or 32
output columns; its sums stay in registers while the loop walks the quads, groups of four codes
that stand side by side in memory.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from asq_hw.sim.program import PIXEL_TILE

__all__ = ["dot_1", "dot_2"]

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_LANES = 16
_SUMS, _BYTES = ir.VectorType(_I32, _LANES), ir.VectorType(_I8, 4 * _LANES)
_ZEROS = ir.Constant(_SUMS, [0] * _LANES)
_UNDEFINED = ir.Constant(_SUMS, ir.Undefined)


def _make_tile(vectors: int) -> Any:
    """The kernel for `vectors` times 16 output columns; it takes addresses and counts.

    ``sums[i, j] = starts[j] + sum over k, b of codes[pixels[i] + quads[k] + b] * weights[j, k, b]``

    Parameters of the kernel
    ------------------------
    codes : address of uint8
    pixels : address of int64 (PIXEL_TILE,)
        Where each output pixel's window starts.
    quads : address of int64 (count,)
        Where each quad stands in a window.
    count : number of quads, at least 1
    weights : address of int8 (vectors, count, 16, 4)
    starts : address of int32 (16 * vectors,)
    first_sums, second_sums : addresses of int32
        Where the first pixel's sums go, vector by vector.
    stride : number of sums from one pixel to the next
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        codes, pixels, quads, count, weights, starts, *sums, stride = args
        windows = [
            builder.add(codes, _load(builder, builder.add(pixels, _I64(8 * i)), _I64, 8))
            for i in range(PIXEL_TILE)
        ]
        panels = [weights]
        for _ in range(vectors - 1):
            panels.append(builder.add(panels[-1], builder.mul(count, _I64(4 * _LANES))))
        firsts = [
            _load(builder, builder.add(starts, _I64(4 * _LANES * j)), _SUMS, 4)
            for j in range(vectors)
        ]
        dot = _declare(builder.module)

        entry = builder.block
        loop, done = builder.append_basic_block("quads"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(_I64)
        k.add_incoming(_I64(0), entry)
        phis = [builder.phi(_SUMS) for _ in range(PIXEL_TILE * vectors)]
        for number, phi in enumerate(phis):
            phi.add_incoming(firsts[number % vectors], entry)
        at = builder.mul(k, _I64(4 * _LANES))
        columns = [_load(builder, builder.add(panel, at), _BYTES, 1) for panel in panels]
        offset = _load(builder, builder.add(quads, builder.mul(k, _I64(8))), _I64, 8)
        totals = []
        for i, window in enumerate(windows):
            quad = _load(builder, builder.add(window, offset), _I32, 1)
            repeated = _broadcast(builder, quad)
            totals += [
                builder.call(dot, [phis[i * vectors + j], repeated, columns[j]])
                for j in range(vectors)
            ]
        following = builder.add(k, _I64(1))
        k.add_incoming(following, loop)
        for phi, total in zip(phis, totals, strict=True):
            phi.add_incoming(total, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)

        builder.position_at_end(done)
        for i in range(PIXEL_TILE):
            row = builder.mul(stride, _I64(4 * i))
            for j in range(vectors):
                place = _pointer(builder, builder.add(sums[j], row), _SUMS)
                builder.store(totals[i * vectors + j], place).align = 4
        return context.get_dummy_value()

    def tile(
        typingctx: Any,
        codes: Any,
        pixels: Any,
        quads: Any,
        count: Any,
        weights: Any,
        starts: Any,
        first_sums: Any,
        second_sums: Any,
        stride: Any,
    ) -> Any:
        return numba.void(*[numba.int64] * 9), generate

    return intrinsic(tile)


def _declare(module: Any) -> Any:
    name = "llvm.x86.avx512.vpdpbusd.512"
    known = module.globals.get(name)
    return known or ir.Function(module, ir.FunctionType(_SUMS, [_SUMS, _BYTES, _BYTES]), name)


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _load(builder: Any, address: Any, kind: Any, alignment: int) -> Any:
    value = builder.load(_pointer(builder, address, kind))
    value.align = alignment
    return value


def _broadcast(builder: Any, quad: Any) -> Any:
    """Four bytes to each of the lanes."""
    lane = builder.insert_element(_UNDEFINED, quad, _I32(0))
    return builder.bitcast(builder.shuffle_vector(lane, _UNDEFINED, _ZEROS), _BYTES)


dot_1 = _make_tile(1)
dot_2 = _make_tile(2)
