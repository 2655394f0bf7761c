"""Vector code of the activation quantizer: sums of channels, adapters, and codes of values."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from asq_hw.sim.program import VECTOR, Portable, Statistic
from asq_hw.sim.vectors import I8, I32, I64, Emitter, vector

__all__ = ["multiply_rows", "quantize_values", "sum_channels"]

_kernel: Any = intrinsic
_SUMS, _REALS = vector(I32), vector(ir.FloatType())


def _load_values(emit: Emitter, address: Any, kind: Any) -> Any:
    """16 values of a feature map in 32-bit lanes."""
    values = emit.load(address, vector(kind))
    return values if kind.width == 32 else emit.builder.sext(values, _SUMS)


@_kernel
def sum_channels(
    typingctx: Any, form: Any, maps: Any, source: Any, pixel: Any, count: Any, out: Any
) -> Any:
    """Add the sums of 16 channels over `count` pixels, at least 1, to what stands in `out`.

    Parameters of the kernel
    ------------------------
    form : Portable or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    source : address of the first channel's value
    pixel : values from one pixel to the next
    count : pixels, so few that their sums fit 32 bits
    out : address of int64 (16,)
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, _, source, pixel, count, out = args
        kind = context.get_data_type(signature.args[1].dtype)
        emit = Emitter(builder)

        def step(i: Any, sums: list[Any]) -> list[Any]:
            at = emit.offset(source, builder.mul(i, pixel), kind.width // 8)
            return [builder.add(sums[0], _load_values(emit, at, kind))]

        (sums,) = emit.loop(count, [emit.constant(0, I32)], step)
        before = emit.load(out, vector(I64))
        emit.store(builder.add(before, builder.sext(sums, vector(I64))), out)
        return context.get_dummy_value()

    return numba.void(form, maps, *[numba.int64] * 4), generate


@_kernel
def multiply_rows(
    typingctx: Any, form: Any, weights: Any, low: Any, high: Any, count: Any, out: Any
) -> Any:
    """The sum of `count` products of an adapter's weights with ``low + 2**15 * high``.

    Parameters of the kernel
    ------------------------
    form : Portable or Vnni
    weights : address of int8 (count,)
    low, high : addresses of int32 (count, filled with zeros to whole vectors)
        At most 2**15 in magnitude, so that 256 products fit the 32 bits of a lane.
    count : 1 to 4096
    out : address of int64
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, weights, low, high, count, out = args
        emit = Emitter(builder)

        def step(i: Any, sums: list[Any]) -> list[Any]:
            first = builder.mul(i, I64(VECTOR))
            row = builder.sext(emit.load(builder.add(weights, first), vector(I8)), _SUMS)
            halves = [emit.load(emit.offset(half, first, 4), _SUMS) for half in (low, high)]
            return [
                builder.add(total, builder.mul(row, half))
                for total, half in zip(sums, halves, strict=True)
            ]

        vectors = builder.ashr(builder.add(count, I64(VECTOR - 1)), I64(4))
        sums = emit.loop(vectors, [emit.constant(0, I32)] * 2, step)
        low_sum, high_sum = (emit.reduce("add", builder.sext(total, vector(I64))) for total in sums)
        emit.store(builder.add(low_sum, builder.shl(high_sum, I64(15))), out)
        return context.get_dummy_value()

    return numba.void(form, *[numba.int64] * 5), generate


@_kernel
def quantize_values(
    typingctx: Any,
    form: Any,
    maps: Any,
    source: Any,
    count: Any,
    out: Any,
    inverse: Any,
    offset: Any,
    top: Any,
    lowest: Any,
    highest: Any,
    statistics: Any,
) -> Any:
    """``q - Qn`` of `count` values, at least 1: the whole part of ``X * inverse + offset``.

    Parameters of the kernel
    ------------------------
    form : Portable or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    source : address of the first value
    out : address of uint8 (count,)
    inverse, offset : float32
        Chosen by `asq_hw.sim.kernels_quantize`, which says why the result is exact.
    top : float32
        What the sum is clamped to, from 0 on.
    lowest, highest : int64
        The values that are not clipped, 0 among them; all others are counted.
    statistics : address of int64 (len(Statistic),)
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, _, source, count, out, inverse, offset, top, lowest, highest, statistics = args
        kind = context.get_data_type(signature.args[1].dtype)
        emit = Emitter(builder)
        factors, offsets, tops = (emit.splat(value) for value in (inverse, offset, top))
        lows, spans = (
            emit.splat(builder.trunc(end, I32)) for end in (lowest, builder.sub(highest, lowest))
        )
        zero = emit.splat(ir.Constant(ir.FloatType(), 0.0))

        def convert(first: Any) -> tuple[Any, Any]:
            """Codes of 16 values, and which are clipped."""
            values = _load_values(emit, emit.offset(source, first, kind.width // 8), kind)
            scaled = builder.fmul(builder.sitofp(values, _REALS), factors)
            moved = builder.fadd(scaled, offsets)
            above = builder.select(builder.fcmp_ordered(">", moved, zero), moved, zero)
            fitted = builder.select(builder.fcmp_ordered("<", above, tops), above, tops)
            codes = builder.trunc(builder.fptosi(fitted, _SUMS), vector(I8))
            # As unsigned numbers, what is below `lowest` is above all the others.
            return codes, builder.icmp_unsigned(">", builder.sub(values, lows), spans)

        def step(i: Any, clipped: list[Any]) -> list[Any]:
            first = builder.mul(i, I64(VECTOR))
            codes, beyond = convert(first)
            emit.store(codes, builder.add(out, first))
            counted = builder.add(clipped[0], emit.constant(1, I32))
            return [builder.select(beyond, counted, clipped[0])]

        def add_clipped(count: Any) -> None:
            address = emit.offset(statistics, int(Statistic.CLIPPED), 8)
            total = builder.sext(emit.reduce("add", count), I64)
            emit.store(builder.add(emit.load(address, I64), total), address)

        whole = builder.ashr(count, I64(4))
        with builder.if_then(builder.icmp_signed(">", whole, I64(0))):
            (clipped,) = emit.loop(whole, [emit.constant(0, I32)], step)
            add_clipped(clipped)
        first = builder.shl(whole, I64(4))
        with builder.if_then(builder.icmp_signed("<", first, count)):
            rest = emit.splat(builder.trunc(builder.sub(count, first), I32))
            inside = builder.icmp_signed("<", _SUMS(list(range(VECTOR))), rest)
            codes, beyond = convert(first)
            emit.store_masked(codes, builder.add(out, first), inside)
            add_clipped(builder.zext(builder.and_(beyond, inside), _SUMS))
        return context.get_dummy_value()

    kinds = [*[numba.int64] * 3, *[numba.float32] * 3, *[numba.int64] * 3]
    return numba.void(form, maps, *kinds), generate
