"""The two transforms of Winograd's convolution F(2 x 2, 3 x 3), in integers.

Four outputs of a 3 x 3 kernel need 16 products instead of 36. With

    B = [[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]],
    G = [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]],  A = [[1, 0], [1, 1], [1, -1], [0, -1]]

``A' ((G g G') * (B' d B)) A`` is four times the convolution of a 4 x 4 tile d with the
kernel g: G is twice that of the textbooks, so that there are no fractions. Every step is exact in
integers, and the sum is divided by four at the end without a remainder.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from asq_hw.sim.instruction_sets import LANES, Portable
from asq_hw.sim.kernels.llvm import I8, I32, I64, Emitter, argument_type, kernel, unpack, vector
from asq_hw.sim.program import TRANSFORM_CHANNELS, WINOGRAD_PRODUCTS

__all__ = ["Codes", "transform_codes", "transform_sums"]


class Codes(NamedTuple):
    """The codes of one tile, and where their transform goes."""

    codes: int
    """Address of uint8: of the tile's first code."""
    row: int
    """Bytes from one row to the next."""
    pixel: int
    """Bytes from one pixel to the next."""
    chunks: int
    """Of `TRANSFORM_CHANNELS` channels, at least 1."""
    out: int
    """Address of uint8: where the first channel goes in the first of the 16 planes."""
    plane: int
    """Bytes from one plane to the next."""
    offset: int
    """Added to all planes but that of the sums of sums, which cannot be negative."""


def _transform_row(builder: Any, values: list[Any]) -> list[Any]:
    """``B'`` times four values."""
    a, b, c, d = values
    return [builder.sub(a, c), builder.add(b, c), builder.sub(c, b), builder.sub(b, d)]


def _join_products(builder: Any, values: list[Any]) -> list[Any]:
    """``A'`` times four values."""
    a, b, c, d = values
    return [
        builder.add(builder.add(a, b), c),
        builder.sub(builder.sub(b, c), d),
    ]


@kernel
def transform_codes(typingctx: Any, form: Any, codes: Any) -> Any:
    """``B' d B`` of one tile of the padded codes.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    codes : Codes
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        at, emit = unpack(Codes, builder, args[1]), Emitter(builder)
        kind = vector(I8, TRANSFORM_CHANNELS)
        added = emit.splat(builder.trunc(at.offset, I8), TRANSFORM_CHANNELS)

        def load(k: Any, y: int, x: int) -> Any:
            row = builder.add(at.codes, builder.mul(at.row, I64(y)))
            start = builder.add(row, builder.mul(at.pixel, I64(x)))
            return emit.load(emit.offset(start, k, TRANSFORM_CHANNELS), kind)

        def step(k: Any, carried: list[Any]) -> list[Any]:
            rows = [_transform_row(builder, [load(k, y, x) for x in range(4)]) for y in range(4)]
            columns = [_transform_row(builder, [values[x] for values in rows]) for x in range(4)]
            target = emit.offset(at.out, k, TRANSFORM_CHANNELS)
            for y in range(4):
                for x in range(4):
                    value = columns[x][y]
                    if (y, x) != (1, 1):
                        value = builder.add(value, added)
                    emit.store(value, builder.add(target, builder.mul(at.plane, I64(4 * y + x))))
            return []

        emit.loop(at.chunks, [], step)
        return context.get_dummy_value()

    return numba.void(form, argument_type(Codes)), generate


@kernel
def transform_sums(
    typingctx: Any, form: Any, products: Any, plane: Any, count: Any, out: Any
) -> Any:
    """``A' m A / 4`` of `count` tiles: 16 planes of sums to the four outputs of each tile.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    products : address of int32 (16, plane)
        Sums modulo 2**32, (tiles, 16) in each plane.
    plane : sums from one plane to the next
    count : number of tiles, at least 1
    out : address of int32 (count, 4, 16)
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, products, plane, count, out = args
        emit = Emitter(builder)
        kind = vector(I32)

        def step(i: Any, carried: list[Any]) -> list[Any]:
            at = emit.offset(products, i, 4 * LANES)
            starts = [builder.mul(plane, I64(t)) for t in range(WINOGRAD_PRODUCTS)]
            planes = [emit.load(emit.offset(at, start, 4), kind) for start in starts]
            rows = [_join_products(builder, planes[4 * y : 4 * y + 4]) for y in range(4)]
            columns = [_join_products(builder, [values[x] for values in rows]) for x in range(2)]
            target = emit.offset(out, i, 4 * 4 * LANES)
            for y in range(2):
                for x in range(2):
                    value = builder.ashr(columns[x][y], emit.constant(2, I32))
                    emit.store(value, emit.offset(target, 2 * y + x, 4 * LANES))
            return []

        emit.loop(count, [], step)
        return context.get_dummy_value()

    return numba.void(form, *[numba.int64] * 4), generate
