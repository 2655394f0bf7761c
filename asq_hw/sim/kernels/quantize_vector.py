"""Vector code of the activation quantizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir

from asq_hw.sim.instruction_sets import LANES, Portable
from asq_hw.sim.kernels.llvm import I8, I32, I64, Emitter, argument_type, kernel, unpack, vector
from asq_hw.sim.program import Statistic

__all__ = ["OddValues", "Values", "quantize_both", "quantize_values"]

_SUMS, _REALS = vector(I32), vector(ir.FloatType())
_VALUES = 2 * LANES
"""Values that are quantized at once: a vector of 16 bits each."""


class Values(NamedTuple):
    """What `quantize_values` reads and writes."""

    source: int
    """Address of the first value."""
    size: int
    """Values, at least 1."""
    out: int
    """Address of uint8 (size,)."""
    inverse: np.float32
    """Chosen, with `offset`, by `asq_hw.sim.kernels.quantize`, which says why codes are exact."""
    offset: np.float32
    lowest: int
    """Inside the range of the maps' type. What X is clamped to first; all others are counted."""
    highest: int
    statistics: int
    """Address of int64 (len(Statistic),)."""


class OddValues(NamedTuple):
    """The same of the odd codes that `quantize_both` makes beside."""

    out: int
    """Address of uint8 (size,): of what an odd code is above the other one, and `added`."""
    inverse: np.float32
    offset: np.float32
    lowest: int
    highest: int
    added: int


class _Rule:
    """Codes of values: the whole part of ``X * inverse + offset``, of a clamped X."""

    def __init__(self, emit: Emitter, kind: Any, at: Any) -> None:
        builder = emit.builder
        self.emit = emit
        self.factors, self.offsets = emit.splat(at.inverse), emit.splat(at.offset)
        self.ends = [
            emit.splat(builder.trunc(end, kind), _VALUES) for end in (at.lowest, at.highest)
        ]

    def apply(self, values: Any) -> tuple[Any, Any]:
        """Codes of 32 values in bytes, and which values are clipped."""
        emit, builder = self.emit, self.emit.builder
        fitted = emit.clamp(values, *self.ends)
        codes = [self._code(emit.part(fitted, LANES * half)) for half in range(2)]
        joined = builder.shuffle_vector(*codes, vector(I32, _VALUES)(list(range(_VALUES))))
        beyond = builder.icmp_signed("!=", fitted, values)
        return builder.trunc(joined, vector(I8, _VALUES)), beyond

    def _code(self, values: Any) -> Any:
        emit, builder = self.emit, self.emit.builder
        scaled = builder.sitofp(builder.sext(values, _SUMS), _REALS)
        moved = emit.call(f"llvm.fma.v{LANES}f32", _REALS, [scaled, self.factors, self.offsets])
        return builder.fptosi(moved, _SUMS)


def _make_quantize(*, both: bool) -> Any:
    """The kernel for codes alone, or for those and odd ones.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    values : Values
    odd : OddValues
        Of `quantize_both`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return context.get_dummy_value()
        at, emit = unpack(Values, builder, args[2]), Emitter(builder)
        kind = context.get_data_type(signature.args[1].dtype)
        outs, rules = [at.out], [_Rule(emit, kind, at)]
        added = None
        if both:
            odd = unpack(OddValues, builder, args[3])
            outs.append(odd.out)
            rules.append(_Rule(emit, kind, odd))
            added = emit.splat(builder.trunc(odd.added, I8), _VALUES)

        def convert(first: Any) -> tuple[list[Any], Any]:
            """What is stored of 32 values, and which are clipped."""
            start = emit.offset(at.source, first, kind.width // 8)
            values = emit.load(start, vector(kind, _VALUES))
            codes, beyond = rules[0].apply(values)
            if added is None:
                return [codes], beyond
            above = builder.sub(rules[1].apply(values)[0], codes)
            return [codes, builder.add(above, added)], beyond

        def step(i: Any, clipped: list[Any]) -> list[Any]:
            first = builder.mul(i, I64(_VALUES))
            stored, beyond = convert(first)
            for out, codes in zip(outs, stored, strict=True):
                emit.store(codes, builder.add(out, first))
            return [builder.add(clipped[0], emit.count(beyond))]

        def add_clipped(total: Any) -> None:
            address = emit.offset(at.statistics, int(Statistic.CLIPPED), 8)
            emit.store(builder.add(emit.load(address, I64), total), address)

        whole = builder.udiv(at.size, I64(_VALUES))
        with builder.if_then(builder.icmp_signed(">", whole, I64(0))):
            add_clipped(emit.loop(whole, [I64(0)], step)[0])
        first = builder.mul(whole, I64(_VALUES))
        with builder.if_then(builder.icmp_signed("<", first, at.size)):
            rest = emit.splat(builder.trunc(builder.sub(at.size, first), I32), _VALUES)
            lanes = vector(I32, _VALUES)(list(range(_VALUES)))
            inside = builder.icmp_signed("<", lanes, rest)
            stored, beyond = convert(first)
            for out, codes in zip(outs, stored, strict=True):
                emit.store_masked(codes, builder.add(out, first), inside)
            add_clipped(emit.count(builder.and_(beyond, inside)))
        return context.get_dummy_value()

    def quantize_values(typingctx: Any, form: Any, maps: Any, values: Any) -> Any:
        return numba.void(form, maps, argument_type(Values)), generate

    def quantize_both(typingctx: Any, form: Any, maps: Any, values: Any, odd: Any) -> Any:
        return numba.void(form, maps, argument_type(Values), argument_type(OddValues)), generate

    return kernel(quantize_both if both else quantize_values)


quantize_values = _make_quantize(both=False)
quantize_both = _make_quantize(both=True)
