"""Requantization of sums that stand as vectors of 16 output channels (docs/arithmetic.md, 5)."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from asq_hw.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.products import SPLIT_FRACTION_BITS
from asq_hw.sim.program import VECTOR, Portable, Statistic
from asq_hw.sim.vectors import I1, I32, I64, Emitter, vector

__all__ = ["finish_one", "finish_pair", "finish_small_pair", "keep_sums"]

_SUMS, _WIDE = vector(I32), vector(I64)
_kernel: Any = intrinsic
_DROP = SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS


def _dot_product(emit: Emitter, sums: list[Any], *, small: bool) -> Any:
    """``V`` in 32-bit lanes, which the plan has made sure of.

    The product of a `small` odd part fits them. Else the rounded product is ``O * (R2 >> 11)`` and,
    rounded, O times the eleven bits that are left, so that no product leaves 32 bits.
    """
    if len(sums) == 1:
        return sums[0]
    builder, (even, odd) = emit.builder, sums
    even = builder.shl(even, emit.constant(SPLIT_FRACTION_BITS, I32))
    if small:
        scaled = builder.mul(odd, emit.constant(SQRT2_MULTIPLIER, I32))
        rounded = builder.add(scaled, emit.constant((1 << _DROP) >> 1, I32))
        return builder.add(even, builder.ashr(rounded, emit.constant(_DROP, I32)))
    whole = builder.mul(odd, emit.constant(SQRT2_MULTIPLIER >> _DROP, I32))
    scaled = builder.mul(odd, emit.constant(SQRT2_MULTIPLIER & (1 << _DROP) - 1, I32))
    rounded = builder.add(scaled, emit.constant((1 << _DROP) >> 1, I32))
    root = builder.add(whole, builder.ashr(rounded, emit.constant(_DROP, I32)))
    return builder.add(even, root)


def _scaled(emit: Emitter, values: Any, scale: Any, shift: Any) -> Any:
    """``(values * scale + half) >> shift`` in each lane; the result fits 32 bits, as planned.

    Lanes of 64 bits hold the products of every second value, then those of the others. Of the
    others the result is wanted where the value stood, in a lane's upper half.
    """
    builder = emit.builder
    half = emit.splat(builder.ashr(builder.shl(I64(1), shift), I64(1)), VECTOR // 2)
    wide = vector(I64, VECTOR // 2)
    by_32 = emit.constant(32, I64, VECTOR // 2)
    wide_values, wide_scale = builder.bitcast(values, wide), builder.bitcast(scale, wide)
    factors = (
        [builder.ashr(builder.shl(value, by_32), by_32) for value in (wide_values, wide_scale)],
        [builder.ashr(value, by_32) for value in (wide_values, wide_scale)],
    )
    products = [builder.add(builder.mul(value, factor), half) for value, factor in factors]
    up, down = builder.sub(I64(32), shift), builder.sub(shift, I64(32))
    up, down = (emit.splat(emit.maximum(end, I64(0)), VECTOR // 2) for end in (up, down))
    low = builder.ashr(products[0], emit.splat(shift, VECTOR // 2))
    high = builder.ashr(builder.shl(products[1], up), down)
    lanes = ir.Constant(vector(I1), [lane % 2 for lane in range(VECTOR)])
    return builder.select(lanes, builder.bitcast(high, _SUMS), builder.bitcast(low, _SUMS))


def _make_finish(parts: int, *, small: bool = False) -> Any:
    """The kernel for sums of one part, or of an even and an odd one, which may be `small`.

    Parameters of the kernel
    ------------------------
    form : Portable or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    sums : address of int32 (pixels, 16)
    odd : number of sums from the even to the odd part
    out : address of the first channel's value of the first pixel
    places : address of int64 (count,)
        Each pixel's first channel, counted from `out`; negative where the pixel is not stored.
    count : number of pixels, at least 1
    channels : number of lanes that are stored
    multipliers, biases : addresses of int32 (16,)
    shift : bits that the products lose, at least 0
    low, high : what values are saturated to, and counted
    floor, ceiling : what they are clamped to after that, inside ``low .. high``
    statistics : address of int64 (len(Statistic),)
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        out_type = context.get_data_type(signature.args[1].dtype)
        size = out_type.width // 8
        sums, odd, out, places, count, channels, multipliers, biases, shift = args[2:11]
        low, high, floor, ceiling, statistics = args[11:]
        emit = Emitter(builder)
        inside = _lanes_below(emit, channels)
        scale, bias = emit.load(multipliers, _SUMS), emit.load(biases, _SUMS)
        lows, spans, floors, ceilings = (
            emit.splat(builder.trunc(end, I32))
            for end in (low, builder.sub(high, low), floor, ceiling)
        )

        def step(i: Any, carried: list[Any]) -> list[Any]:
            saturated, smallest, largest = carried
            place, stored, mask = _target(emit, places, i, inside)
            at = emit.offset(sums, i, 4 * VECTOR)
            values = [
                emit.load(emit.offset(at, builder.mul(odd, I64(p)), 4), _SUMS) for p in range(parts)
            ]
            for value in values:
                smallest = builder.select(mask, emit.minimum(smallest, value), smallest)
                largest = builder.select(mask, emit.maximum(largest, value), largest)
            scaled = _scaled(emit, _dot_product(emit, values, small=small), scale, shift)
            exact = builder.add(scaled, bias)
            # As unsigned numbers, what is below `low` is above all the others.
            beyond = builder.icmp_unsigned(">", builder.sub(exact, lows), spans)
            counted = builder.add(saturated, emit.constant(1, I32))
            saturated = builder.select(builder.and_(beyond, mask), counted, saturated)
            result = emit.clamp(exact, floors, ceilings)
            if out_type.width < 32:
                result = builder.trunc(result, vector(out_type))
            address = emit.offset(out, place, size)
            # Whole vectors by themselves: a masked store is slow where memory has to be fetched.
            whole = builder.and_(builder.icmp_signed(">=", channels, I64(VECTOR)), stored)
            with builder.if_else(whole, likely=True) as (all_lanes, some_lanes):
                with all_lanes:
                    emit.store(result, address)
                with some_lanes:
                    emit.store_masked(result, address, mask)
            return [saturated, smallest, largest]

        first = [emit.constant(value, I32) for value in (0, 2**31 - 1, -(2**31))]
        saturated, smallest, largest = emit.loop(count, first, step)
        _update(emit, statistics, Statistic.SATURATED, builder.add, emit.reduce("add", saturated))
        _update(emit, statistics, Statistic.SMALLEST, emit.minimum, emit.reduce("smin", smallest))
        _update(emit, statistics, Statistic.LARGEST, emit.maximum, emit.reduce("smax", largest))
        return context.get_dummy_value()

    def finish(
        typingctx: Any,
        form: Any,
        maps: Any,
        sums: Any,
        odd: Any,
        out: Any,
        places: Any,
        count: Any,
        channels: Any,
        multipliers: Any,
        biases: Any,
        shift: Any,
        low: Any,
        high: Any,
        floor: Any,
        ceiling: Any,
        statistics: Any,
    ) -> Any:
        return numba.void(form, maps, *[numba.int64] * 14), generate

    return intrinsic(finish)


@_kernel
def keep_sums(
    typingctx: Any, form: Any, sums: Any, out: Any, places: Any, count: Any, channels: Any
) -> Any:
    """Store sums, (pixels, 16), as the int64 of a trace; parameters are as above."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, sums, out, places, count, channels = args
        emit = Emitter(builder)
        inside = _lanes_below(emit, channels)

        def step(i: Any, carried: list[Any]) -> list[Any]:
            place, _, mask = _target(emit, places, i, inside)
            value = builder.sext(emit.load(emit.offset(sums, i, 4 * VECTOR), _SUMS), _WIDE)
            emit.store_masked(value, emit.offset(out, place, 8), mask)
            return []

        emit.loop(count, [], step)
        return context.get_dummy_value()

    return numba.void(form, *[numba.int64] * 5), generate


def _lanes_below(emit: Emitter, count: Any) -> Any:
    """A mask of the first lanes."""
    lanes = _SUMS(list(range(VECTOR)))
    return emit.builder.icmp_signed("<", lanes, emit.splat(emit.builder.trunc(count, I32)))


def _target(emit: Emitter, places: Any, pixel: Any, inside: Any) -> tuple[Any, Any, Any]:
    """Where a pixel goes, whether it goes anywhere, and the lanes that are stored."""
    place = emit.load(emit.offset(places, pixel, 8), I64)
    stored = emit.builder.icmp_signed(">=", place, I64(0))
    return place, stored, emit.builder.and_(inside, emit.splat(stored))


def _update(emit: Emitter, statistics: Any, column: Statistic, join: Any, value: Any) -> None:
    address = emit.offset(statistics, int(column), 8)
    emit.store(join(emit.load(address, I64), emit.builder.sext(value, I64)), address)


finish_one = _make_finish(1)
finish_pair = _make_finish(2)
finish_small_pair = _make_finish(2, small=True)
