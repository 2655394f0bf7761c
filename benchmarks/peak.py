"""The most products of bytes per second that one core can be made to compute."""

from __future__ import annotations

import time
from typing import Any

import numba
from numba.extending import intrinsic

from asq_hw.errors import InputError
from asq_hw.sim.instruction_sets import LANES
from asq_hw.sim.kernel_choice import choose_kernel
from asq_hw.sim.kernels.llvm import I8, I32, I64, Emitter, vector

__all__ = ["integer_peak"]

_CHAINS = 16
"""Independent sums, so that none waits for the one before it."""
_PRODUCTS = 4 * LANES * _CHAINS
_ROUNDS = 2_000_000
_TRIALS = 7


@intrinsic  # type: ignore[untyped-decorator]
def _multiply(typingctx: Any, rounds: Any) -> Any:
    """So many rounds of independent ``vpdpbusd`` on registers; returns something of the sums."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = Emitter(builder)
        kinds = vector(I32), vector(I8, 4 * LANES)
        start = emit.splat(builder.trunc(args[0], I32))
        operand = builder.bitcast(start, kinds[1])

        def step(i: Any, sums: list[Any]) -> list[Any]:
            name = "llvm.x86.avx512.vpdpbusd.512"
            return [emit.call(name, kinds[0], [total, operand, operand]) for total in sums]

        sums = emit.loop(args[0], [start] * _CHAINS, step)
        for j, total in enumerate(sums[1:]):
            # Different amounts, so that the chains cannot be computed as one.
            sums[0] = builder.add(sums[0], builder.shl(total, emit.constant(j, I32)))
        return builder.sext(emit.reduce("add", sums[0]), I64)

    return numba.int64(numba.int64), generate


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _run(rounds: int) -> int:
    return _multiply(rounds)


def integer_peak() -> float | None:
    """Products of an unsigned and a signed byte per second on one core; None without VNNI."""
    try:
        choose_kernel("vnni")
    except InputError:
        return None
    _run(1)
    seconds = []
    for _ in range(_TRIALS):
        start = time.perf_counter()
        _run(_ROUNDS)
        seconds.append(time.perf_counter() - start)
    return _PRODUCTS * _ROUNDS / min(seconds)
