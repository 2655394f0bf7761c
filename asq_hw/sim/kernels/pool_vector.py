"""Vector code of pooling: sums of channels over pixels."""

from __future__ import annotations

from typing import Any

import numba

from asq_hw.sim.instruction_sets import LANES, Portable, Vnni
from asq_hw.sim.kernels.llvm import I32, I64, Emitter, kernel, vector

__all__ = ["sum_channels"]

_SUMS = vector(I32)
_PAIRS = LANES // 2
"""Lanes of 32 bits that hold 16 channels of 16 bits."""


@kernel
def sum_channels(
    typingctx: Any, form: Any, maps: Any, source: Any, pixel: Any, count: Any, out: Any
) -> Any:
    """Add the sums of 16 channels over `count` pixels, at least 1, to what stands in `out`.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    source : address of the first channel's value
    pixel : values from one pixel to the next
    count : pixels, so few that their sums fit 32 bits
    out : address of int64 (16,)
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form = signature.args[0].instance_class
        if form is Portable:
            return context.get_dummy_value()
        _, _, source, pixel, count, out = args
        kind = context.get_data_type(signature.args[1].dtype)
        emit = Emitter(builder)

        def step(i: Any, sums: list[Any]) -> list[Any]:
            at = emit.offset(source, builder.mul(i, pixel), kind.width // 8)
            values = emit.load(at, vector(kind))
            return [builder.add(sums[0], values if kind == I32 else builder.sext(values, _SUMS))]

        if form is Vnni and kind.width == 16:
            sums = _sum_pairs(emit, source, pixel, count)
        else:
            (sums,) = emit.loop(count, [emit.constant(0, I32)], step)
        before = emit.load(out, vector(I64))
        emit.store(builder.add(before, builder.sext(sums, vector(I64))), out)
        return context.get_dummy_value()

    return numba.void(form, maps, *[numba.int64] * 4), generate


def _sum_pairs(emit: Emitter, address: Any, pixel: Any, count: Any) -> Any:
    """Sums of 16 channels of 16-bit values, through ``vpdpwssd``: the even ones, then the others.

    It adds the products of a lane's two halves: with 1 and 0, or 0 and 1.
    """
    kind = vector(I32, _PAIRS)
    name = "llvm.x86.avx512.vpdpwssd.256"
    factors = [emit.constant(factor, I32, _PAIRS) for factor in (1, 1 << 16)]

    def step(i: Any, sums: list[Any]) -> list[Any]:
        pairs = emit.load(emit.offset(address, emit.builder.mul(i, pixel), 2), kind)
        return [
            emit.call(name, kind, [total, pairs, factor])
            for total, factor in zip(sums, factors, strict=True)
        ]

    even, odd = emit.loop(count, [emit.constant(0, I32, _PAIRS)] * 2, step)
    places = [part + lane for lane in range(_PAIRS) for part in (0, _PAIRS)]
    return emit.builder.shuffle_vector(even, odd, _SUMS(places))
