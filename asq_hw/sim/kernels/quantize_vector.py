"""Vector code of the activation quantizer: sums of channels, adapters, and codes of values."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from asq_hw.sim.instruction_sets import LANES, Portable, Vnni
from asq_hw.sim.kernels.llvm import I8, I32, I64, Emitter, vector
from asq_hw.sim.program import Statistic

__all__ = ["VALUES", "add_values", "multiply_rows", "quantize_values", "sum_channels"]

_kernel: Any = intrinsic
_SUMS, _REALS = vector(I32), vector(ir.FloatType())
VALUES = 2 * LANES
"""Values that are quantized, or added, at once: a vector of 16 bits each."""


def _sum_pairs(emit: Emitter, address: Any, pixel: Any, count: Any) -> Any:
    """Sums of 16 channels of 16-bit values, through ``vpdpwssd``: the even ones, then the others.

    It adds the products of a lane's two halves: with 1 and 0, or 0 and 1.
    """
    kind = vector(I32, LANES // 2)
    name = "llvm.x86.avx512.vpdpwssd.256"
    factors = [emit.constant(factor, I32, LANES // 2) for factor in (1, 1 << 16)]

    def step(i: Any, sums: list[Any]) -> list[Any]:
        pairs = emit.load(emit.offset(address, emit.builder.mul(i, pixel), 2), kind)
        return [
            emit.call(name, kind, [total, pairs, factor])
            for total, factor in zip(sums, factors, strict=True)
        ]

    even, odd = emit.loop(count, [emit.constant(0, I32, LANES // 2)] * 2, step)
    places = [part + lane for lane in range(LANES // 2) for part in (0, LANES // 2)]
    return emit.builder.shuffle_vector(even, odd, _SUMS(places))


@_kernel
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


@_kernel
def add_values(
    typingctx: Any,
    form: Any,
    maps: Any,
    first: Any,
    second: Any,
    out: Any,
    count: Any,
    low: Any,
    high: Any,
    floor: Any,
    ceiling: Any,
) -> Any:
    """Saturated and then clamped sums of `count` times 32 values; returns how many were saturated.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    first, second, out : addresses of the values
    count : at least 1
    low, high : what sums are saturated to, and counted
    floor, ceiling : what they are clamped to after that, inside ``low .. high``
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return I64(0)
        _, _, first, second, out, count, *ends = args
        kind = context.get_data_type(signature.args[1].dtype)
        emit = Emitter(builder)
        values = vector(kind, VALUES)
        low, high, floor, ceiling = (emit.splat(builder.trunc(end, kind), VALUES) for end in ends)

        def step(i: Any, saturated: list[Any]) -> list[Any]:
            skip = builder.mul(i, I64(VALUES * kind.width // 8))
            a, b = (emit.load(builder.add(at, skip), values) for at in (first, second))
            # A sum that leaves the lanes differs from the wrapped one once it is saturated.
            exact = emit.call(f"llvm.sadd.sat.v{VALUES}i{kind.width}", values, [a, b])
            fitted = emit.clamp(exact, low, high)
            beyond = builder.icmp_signed("!=", fitted, builder.add(a, b))
            emit.store(emit.clamp(fitted, floor, ceiling), builder.add(out, skip))
            return [builder.add(saturated[0], emit.count(beyond))]

        return emit.loop(count, [I64(0)], step)[0]

    return numba.int64(form, maps, *[numba.int64] * 8), generate


@_kernel
def multiply_rows(
    typingctx: Any, form: Any, weights: Any, low: Any, high: Any, count: Any, out: Any
) -> Any:
    """The sum of `count` products of an adapter's weights with ``low + 2**15 * high``.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
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
            first = builder.mul(i, I64(LANES))
            row = builder.sext(emit.load(builder.add(weights, first), vector(I8)), _SUMS)
            halves = [emit.load(emit.offset(half, first, 4), _SUMS) for half in (low, high)]
            return [
                builder.add(total, builder.mul(row, half))
                for total, half in zip(sums, halves, strict=True)
            ]

        vectors = builder.ashr(builder.add(count, I64(LANES - 1)), I64(4))
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
    lowest: Any,
    highest: Any,
    statistics: Any,
) -> Any:
    """``q - Qn`` of `count` values, at least 1: the whole part of ``X * inverse + offset``.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    source : address of the first value
    out : address of uint8 (count,)
    inverse, offset : float32
        Chosen by `asq_hw.sim.kernels.quantize`, which says why the result is exact.
    lowest, highest : int64
        Inside the range of the maps' type. What X is clamped to first; all others are counted.
    statistics : address of int64 (len(Statistic),)
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        _, _, source, count, out, inverse, offset, lowest, highest, statistics = args
        kind = context.get_data_type(signature.args[1].dtype)
        emit = Emitter(builder)
        factors, offsets = emit.splat(inverse), emit.splat(offset)
        ends = [emit.splat(builder.trunc(end, kind), VALUES) for end in (lowest, highest)]

        def code(values: Any) -> Any:
            scaled = builder.sitofp(builder.sext(values, _SUMS), _REALS)
            moved = emit.call("llvm.fma.v16f32", _REALS, [scaled, factors, offsets])
            return builder.fptosi(moved, _SUMS)

        def convert(first: Any) -> tuple[Any, Any]:
            """Codes of 32 values, and which are clipped."""
            at = emit.offset(source, first, kind.width // 8)
            values = emit.load(at, vector(kind, VALUES))
            fitted = emit.clamp(values, *ends)
            codes = [code(emit.part(fitted, LANES * half)) for half in range(2)]
            joined = builder.shuffle_vector(*codes, vector(I32, VALUES)(list(range(VALUES))))
            beyond = builder.icmp_signed("!=", fitted, values)
            return builder.trunc(joined, vector(I8, VALUES)), beyond

        def step(i: Any, clipped: list[Any]) -> list[Any]:
            first = builder.mul(i, I64(VALUES))
            codes, beyond = convert(first)
            emit.store(codes, builder.add(out, first))
            return [builder.add(clipped[0], emit.count(beyond))]

        def add_clipped(total: Any) -> None:
            address = emit.offset(statistics, int(Statistic.CLIPPED), 8)
            emit.store(builder.add(emit.load(address, I64), total), address)

        whole = builder.udiv(count, I64(VALUES))
        with builder.if_then(builder.icmp_signed(">", whole, I64(0))):
            add_clipped(emit.loop(whole, [I64(0)], step)[0])
        first = builder.mul(whole, I64(VALUES))
        with builder.if_then(builder.icmp_signed("<", first, count)):
            rest = emit.splat(builder.trunc(builder.sub(count, first), I32), VALUES)
            lanes = vector(I32, VALUES)(list(range(VALUES)))
            inside = builder.icmp_signed("<", lanes, rest)
            codes, beyond = convert(first)
            emit.store_masked(codes, builder.add(out, first), inside)
            add_clipped(emit.count(builder.and_(beyond, inside)))
        return context.get_dummy_value()

    kinds = [*[numba.int64] * 3, *[numba.float32] * 2, *[numba.int64] * 3]
    return numba.void(form, maps, *kinds), generate
