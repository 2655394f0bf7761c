"""Requantization of sums that stand as vectors of 16 output channels (docs/arithmetic.md, 5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
from llvmlite import ir

from asq_hw.compiler import jit
from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.numbers.products import SPLIT_FRACTION_BITS
from asq_hw.sim.instruction_sets import LANES, Form, Portable, Vnni
from asq_hw.sim.kernels.llvm import (
    I1,
    I16,
    I32,
    I64,
    Emitter,
    argument_type,
    kernel,
    unpack,
    vector,
)
from asq_hw.sim.program import Requantization, Statistic

__all__ = [
    "Sums",
    "keep_sums",
    "requantize_halves",
    "requantize_one",
    "requantize_one_split",
    "requantize_pair",
    "requantize_pair_split",
]


class Sums(NamedTuple):
    """Sums of 16 output channels at some pixels, and what becomes of them.

    What is multiplied must suit the layer: see `packing.PackedWeights.requantization`.
    """

    sums: int
    """Address of int32 (pixels, 16)."""
    odd: int
    """Sums from the even to the odd part, where they do not share lanes."""
    out: int
    """Address of the first channel's value of the first pixel."""
    outputs: int
    """Address of int64 (pixels,): each pixel's first channel, counted from `out`; negative where
    the pixel is not stored."""
    pixels: int
    """At least 1."""
    channels: int
    """Lanes that are stored, or more."""
    multipliers: int
    """Address of int32 (16,)."""
    biases: int
    """Address of int32 (16,)."""
    shift: int
    """Bits that the products lose, at least 0."""
    split: int
    """Bits of the multipliers that are multiplied apart, where they are."""
    low: int
    """What values are saturated to, and counted."""
    high: int
    floor: int
    """What they are clamped to after that, inside ``low .. high``."""
    ceiling: int
    statistics: int
    """Address of int64 (len(Statistic),)."""
    channel_sums: int
    """Address of int64 (16,), or 0. What the sums of the stored values over the pixels, so few that
    they fit 32 bits, are added to."""


@jit
def keep_sums(method: int, part: int, form: Form, sums: Sums, out: int) -> None:
    """Store one part's sums as the int64 of a trace, at an address like that of `Sums.out`.

    Parameters
    ----------
    method : int
        Which `Requantization` the sums are for.
    part : int
        0 for even sums, or where there are no others; 1 for odd ones.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    sums : Sums
        Where they stand.
    out : int
        Address of int64.
    """
    if method == Requantization.HALVES:
        _store_sums(form, sums, 0, out, 16 * part, 16)
    else:
        _store_sums(form, sums, 4 * part * sums.odd, out, 0, 32)


_SUMS, _WIDE = vector(I32), vector(I64)
_HALVES = vector(I16, 2 * LANES)
_DROP = SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS


def _even_part(emit: Emitter, joined: Any) -> Any:
    """The lower half of every lane, as a signed number."""
    by_16 = emit.constant(16, I32)
    return emit.builder.ashr(emit.builder.shl(joined, by_16), by_16)


def _join_parts(emit: Emitter, even: Any, odd: Any, *, small: bool) -> Any:
    """``V`` in 32-bit lanes, which the plan has made sure of.

    The product of a `small` odd part fits them. Else the rounded product is ``O * (R2 >> 11)`` and,
    rounded, O times the eleven bits that are left, so that no product leaves 32 bits.
    """
    builder = emit.builder
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


def _join_halves(emit: Emitter, form: Any, joined: Any) -> Any:
    """The same of an even part in the lower and an odd one in the upper half of every lane.

    ``V = (E * 2**15 + O * R2 + 2**10) >> 11``. The two factors need 16 and 17 bits; in two halves
    each they are signed 16-bit numbers.
    """
    builder = emit.builder
    if form is not Vnni:
        odd = builder.ashr(joined, emit.constant(16, I32))
        return _join_parts(emit, _even_part(emit, joined), odd, small=True)
    total = emit.constant((1 << _DROP) >> 1, I32)
    for even, odd in (
        ((1 << SQRT2_FRACTION_BITS) - 1, SQRT2_MULTIPLIER >> 1),
        (1, SQRT2_MULTIPLIER - (SQRT2_MULTIPLIER >> 1)),
    ):
        factors = emit.constant(odd << 16 | even, I32)
        total = emit.call("llvm.x86.avx512.vpdpwssd.512", _SUMS, [total, joined, factors])
    return builder.ashr(total, emit.constant(_DROP, I32))


class _WideScale:
    """``((V * m + half) >> shift) + bias`` through 64 bits; the result fits 32, as planned.

    Lanes of 64 bits hold the products of every second value, then those of the others. Of the
    others the result is wanted where the value stood, in a lane's upper half.
    """

    def __init__(self, emit: Emitter, scale: Any, bias: Any, shift: Any, split: Any) -> None:
        builder = emit.builder
        self.emit, self.bias = emit, bias
        self.half = emit.splat(builder.ashr(builder.shl(I64(1), shift), I64(1)), LANES // 2)
        up, down = builder.sub(I64(32), shift), builder.sub(shift, I64(32))
        self.up, self.down = (
            emit.splat(emit.maximum(end, I64(0)), LANES // 2) for end in (up, down)
        )
        self.shift = emit.splat(shift, LANES // 2)
        self.factors = self._halves(scale)

    def _halves(self, values: Any) -> list[Any]:
        builder = self.emit.builder
        by_32 = self.emit.constant(32, I64, LANES // 2)
        wide = builder.bitcast(values, vector(I64, LANES // 2))
        return [builder.ashr(builder.shl(wide, by_32), by_32), builder.ashr(wide, by_32)]

    def apply(self, values: Any) -> Any:
        builder = self.emit.builder
        products = [
            builder.add(builder.mul(value, factor), self.half)
            for value, factor in zip(self._halves(values), self.factors, strict=True)
        ]
        low = builder.ashr(products[0], self.shift)
        high = builder.ashr(builder.shl(products[1], self.up), self.down)
        lanes = ir.Constant(vector(I1), [lane % 2 for lane in range(LANES)])
        scaled = builder.select(lanes, builder.bitcast(high, _SUMS), builder.bitcast(low, _SUMS))
        return builder.add(scaled, self.bias)


class _SplitScale:
    """The same in 32 bits: ``(V * (m >> k) + bias' + ((V * (m mod 2**k) + half) >> k)) >> rest``.

    ``rest = shift - k`` and ``bias' = bias << rest``; `packing.split_bits` chooses k.
    """

    def __init__(self, emit: Emitter, scale: Any, bias: Any, shift: Any, split: Any) -> None:
        builder = emit.builder
        shift, split = builder.trunc(shift, I32), builder.trunc(split, I32)
        self.emit = emit
        self.half = emit.splat(builder.lshr(builder.shl(I32(1), shift), I32(1)))
        self.split, self.rest = emit.splat(split), emit.splat(builder.sub(shift, split))
        low_bits = emit.splat(builder.sub(builder.shl(I32(1), split), I32(1)))
        self.high, self.low = builder.ashr(scale, self.split), builder.and_(scale, low_bits)
        self.bias = builder.shl(bias, self.rest)

    def apply(self, values: Any) -> Any:
        builder = self.emit.builder
        rounded = builder.add(builder.mul(values, self.low), self.half)
        total = builder.add(builder.mul(values, self.high), self.bias)
        return builder.ashr(builder.add(total, builder.ashr(rounded, self.split)), self.rest)


class _Extremes:
    """The smallest and the largest of all sums, in lanes of 32 bits or, of pairs, of 16."""

    def __init__(self, emit: Emitter, inside: Any, *, halves: bool) -> None:
        self.emit, self.kind = emit, _HALVES if halves else _SUMS
        self.mask = inside
        if halves:
            twice = vector(I32, 2 * LANES)([lane // 2 for lane in range(2 * LANES)])
            self.mask = emit.builder.shuffle_vector(inside, inside, twice)
        width, count = self.kind.element.width, self.kind.count
        ends = ((1 << width - 1) - 1, -(1 << width - 1))
        self.first = [emit.constant(end, self.kind.element, count) for end in ends]

    def widen(self, carried: list[Any], sums: list[Any]) -> list[Any]:
        builder = self.emit.builder
        smallest, largest = carried
        for value in sums:
            value = builder.bitcast(value, self.kind)
            smallest = builder.select(self.mask, self.emit.minimum(smallest, value), smallest)
            largest = builder.select(self.mask, self.emit.maximum(largest, value), largest)
        return [smallest, largest]

    def store(self, carried: list[Any], statistics: Any) -> None:
        emit = self.emit
        columns = (Statistic.SMALLEST, Statistic.LARGEST)
        joins = (("smin", emit.minimum), ("smax", emit.maximum))
        for column, (name, join), value in zip(columns, joins, carried, strict=True):
            _update(emit, statistics, column, join, emit.reduce(name, value))


def _make_requantize(parts: int, *, scale_type: Any, halves: bool = False) -> Any:
    """The kernel for sums of one part, or of an even and an odd one, which may share lanes.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    sums : Sums
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form = signature.args[0].instance_class
        if form is Portable:
            return context.get_dummy_value()
        out_type = context.get_data_type(signature.args[1].dtype)
        size = out_type.width // 8
        at, emit = unpack(Sums, builder, args[2]), Emitter(builder)
        inside = _lanes_below(emit, at.channels)
        whole = builder.icmp_signed(">=", at.channels, I64(LANES))
        scale = scale_type(
            emit, emit.load(at.multipliers, _SUMS), emit.load(at.biases, _SUMS), at.shift, at.split
        )
        extremes = _Extremes(emit, inside, halves=halves)
        lows, spans, floors, ceilings = (
            emit.splat(builder.trunc(end, I32))
            for end in (at.low, builder.sub(at.high, at.low), at.floor, at.ceiling)
        )

        def dot_product(values: list[Any]) -> Any:
            if halves:
                return _join_halves(emit, form, values[0])
            if parts == 1:
                return values[0]
            return _join_parts(emit, *values, small=scale_type is _SplitScale)

        def requantize_pixel(i: Any, place: Any, carried: list[Any]) -> list[Any]:
            start = emit.offset(at.sums, i, 4 * LANES)
            values = [
                emit.load(emit.offset(start, builder.mul(at.odd, I64(p)), 4), _SUMS)
                for p in range(1 if halves else parts)
            ]
            exact = scale.apply(dot_product(values))
            # As unsigned numbers, what is below `low` is above all the others.
            beyond = builder.icmp_unsigned(">", builder.sub(exact, lows), spans)
            saturated = builder.add(carried[0], emit.count(builder.and_(beyond, inside)))
            result = emit.clamp(exact, floors, ceilings)
            summed = builder.select(inside, builder.add(carried[1], result), carried[1])
            if out_type.width < 32:
                result = builder.trunc(result, vector(out_type))
            address = emit.offset(at.out, place, size)
            # Whole vectors by themselves: a masked store is slow where memory has to be fetched.
            with builder.if_else(whole, likely=True) as (all_lanes, some_lanes):
                with all_lanes:
                    emit.store(result, address)
                with some_lanes:
                    emit.store_masked(result, address, inside)
            return [saturated, summed, *extremes.widen(carried[2:], values)]

        def step(i: Any, carried: list[Any]) -> list[Any]:
            place = emit.load(emit.offset(at.outputs, i, 8), I64)
            stored = builder.icmp_signed(">=", place, I64(0))
            return emit.if_then(stored, carried, lambda: requantize_pixel(i, place, carried))

        first = [I64(0), emit.constant(0, I32), *extremes.first]
        saturated, summed, *ends = emit.loop(at.pixels, first, step)
        _update(emit, at.statistics, Statistic.SATURATED, builder.add, saturated)
        extremes.store(ends, at.statistics)
        with builder.if_then(builder.icmp_signed("!=", at.channel_sums, I64(0))):
            before = emit.load(at.channel_sums, _WIDE)
            emit.store(builder.add(before, builder.sext(summed, _WIDE)), at.channel_sums)
        return context.get_dummy_value()

    def requantize(typingctx: Any, form: Any, maps: Any, sums: Any) -> Any:
        return numba.void(form, maps, argument_type(Sums)), generate

    return kernel(requantize)


@kernel
def _store_sums(
    typingctx: Any, form: Any, sums: Any, start: Any, out: Any, skip: Any, bits: Any
) -> Any:
    """Store sums, from `start` bytes on, as int64; a lane's has `bits` bits above `skip` others."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        at, (start, out, skip, bits) = unpack(Sums, builder, args[1]), args[2:]
        emit = Emitter(builder)
        inside = _lanes_below(emit, at.channels)
        down = builder.sub(I32(32), builder.trunc(bits, I32))
        up = emit.splat(builder.sub(down, builder.trunc(skip, I32)))
        down = emit.splat(down)

        def step(i: Any, carried: list[Any]) -> list[Any]:
            place = emit.load(emit.offset(at.outputs, i, 8), I64)
            stored = builder.icmp_signed(">=", place, I64(0))
            lane = emit.load(emit.offset(builder.add(at.sums, start), i, 4 * LANES), _SUMS)
            value = builder.sext(builder.ashr(builder.shl(lane, up), down), _WIDE)
            mask = builder.and_(inside, emit.splat(stored))
            emit.store_masked(value, emit.offset(out, place, 8), mask)
            return []

        emit.loop(at.pixels, [], step)
        return context.get_dummy_value()

    return numba.void(form, argument_type(Sums), *[numba.int64] * 4), generate


def _lanes_below(emit: Emitter, count: Any) -> Any:
    """A mask of the first lanes."""
    lanes = _SUMS(list(range(LANES)))
    return emit.builder.icmp_signed("<", lanes, emit.splat(emit.builder.trunc(count, I32)))


def _update(emit: Emitter, statistics: Any, column: Statistic, join: Any, value: Any) -> None:
    address = emit.offset(statistics, int(column), 8)
    if value.type.width < I64.width:
        value = emit.builder.sext(value, I64)
    emit.store(join(emit.load(address, I64), value), address)


requantize_one = _make_requantize(1, scale_type=_WideScale)
requantize_pair = _make_requantize(2, scale_type=_WideScale)
requantize_one_split = _make_requantize(1, scale_type=_SplitScale)
requantize_pair_split = _make_requantize(2, scale_type=_SplitScale)
requantize_halves = _make_requantize(2, scale_type=_SplitScale, halves=True)
