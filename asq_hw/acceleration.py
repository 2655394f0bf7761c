"""Brings the simulator's compiler to the trainer; the two never see each other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asq_hw.train.compiled.rounding import RoundingLoops

__all__ = ["accelerated_training", "compiled_loops"]


def accelerated_training() -> AbstractContextManager[None]:
    """Let quantizers round in compiled loops, wherever they work on float32 numbers on a CPU.

    Rounded values stay the same to the bit, and so do gradients but for the order of sums.
    """
    from asq_hw.train.compiled import rounding as loops

    return loops.use(compiled_loops())


def compiled_loops() -> RoundingLoops:
    """Return the loops; Numba compiles them once, and later processes find them in its cache."""
    from asq_hw.train.compiled.fake_quantize import FakeQuantizeLoops

    return FakeQuantizeLoops()
