"""Vector code of the sum of two maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from asq_hw.sim.instruction_sets import LANES, Portable
from asq_hw.sim.kernels.llvm import I64, Emitter, argument_type, kernel, unpack, vector

__all__ = ["VALUES", "Addition", "add_values"]

VALUES = 2 * LANES
"""Values that are added at once: a vector of 16 bits each."""


class Addition(NamedTuple):
    """What `add_values` reads and writes."""

    first: int
    """Address of the first map's values."""
    second: int
    out: int
    vectors: int
    """Of `VALUES` values each, at least 1."""
    low: int
    """What sums are saturated to, and counted."""
    high: int
    floor: int
    """What they are clamped to after that, inside ``low .. high``."""
    ceiling: int


@kernel
def add_values(typingctx: Any, form: Any, maps: Any, addition: Any) -> Any:
    """Saturated and then clamped sums; returns how many were saturated.

    Parameters of the kernel
    ------------------------
    form : Portable, Avx2 or Vnni
    maps : array
        Only its type matters: that of the feature maps.
    addition : Addition
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if signature.args[0].instance_class is Portable:
            return I64(0)
        at = unpack(Addition, builder, args[2])
        kind = context.get_data_type(signature.args[1].dtype)
        emit = Emitter(builder)
        values = vector(kind, VALUES)
        low, high, floor, ceiling = (
            emit.splat(builder.trunc(end, kind), VALUES)
            for end in (at.low, at.high, at.floor, at.ceiling)
        )

        def step(i: Any, saturated: list[Any]) -> list[Any]:
            skip = builder.mul(i, I64(VALUES * kind.width // 8))
            a, b = (emit.load(builder.add(start, skip), values) for start in (at.first, at.second))
            # A sum that leaves the lanes differs from the wrapped one once it is saturated.
            exact = emit.call(f"llvm.sadd.sat.v{VALUES}i{kind.width}", values, [a, b])
            fitted = emit.clamp(exact, low, high)
            beyond = builder.icmp_signed("!=", fitted, builder.add(a, b))
            emit.store(emit.clamp(fitted, floor, ceiling), builder.add(at.out, skip))
            return [builder.add(saturated[0], emit.count(beyond))]

        return emit.loop(at.vectors, [I64(0)], step)[0]

    return numba.int64(form, maps, argument_type(Addition)), generate
