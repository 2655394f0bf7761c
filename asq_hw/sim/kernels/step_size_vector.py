"""Vector code of the adapter's products."""

from __future__ import annotations

from typing import Any

import numba

from asq_hw.sim.instruction_sets import LANES, Portable
from asq_hw.sim.kernels.llvm import I8, I32, I64, Emitter, kernel, vector

__all__ = ["HALF_BITS", "MAX_PRODUCTS", "multiply_row"]

HALF_BITS = 15
"""Bits of the lower half of a value."""
MAX_PRODUCTS = 4096
"""Of a row: 256 in each lane, whose sum fits its 32 bits."""

_SUMS = vector(I32)


@kernel
def multiply_row(
    typingctx: Any, form: Any, weights: Any, low: Any, high: Any, count: Any, out: Any
) -> Any:
    """The sum of `count` products of an adapter's weights with ``low + 2**15 * high``.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    weights : address of int8 (count,)
    low, high : addresses of int32 (count, filled with zeros to whole vectors)
        At most ``2**HALF_BITS`` in magnitude.
    count : 1 to MAX_PRODUCTS
    out : address of int64
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, weights, low, high, count, out = args
        emit = Emitter(builder)

        def step(i: Any, sums: list[Any]) -> list[Any]:
            first = builder.mul(i, I64(LANES))
            row = builder.sext(emit.load(builder.add(weights, first), vector(I8)), _SUMS)
            halves = [emit.load(emit.offset(half, first, 4), _SUMS) for half in (low, high)]
            return [
                builder.add(total, builder.mul(row, half))
                for total, half in zip(sums, halves, strict=True)
            ]

        vectors = builder.udiv(builder.add(count, I64(LANES - 1)), I64(LANES))
        sums = emit.loop(vectors, [emit.constant(0, I32)] * 2, step)
        low_sum, high_sum = (emit.reduce("add", builder.sext(total, vector(I64))) for total in sums)
        emit.store(builder.add(low_sum, builder.shl(high_sum, I64(HALF_BITS))), out)
        return context.get_dummy_value()

    return numba.void(form, *[numba.int64] * 5), generate
