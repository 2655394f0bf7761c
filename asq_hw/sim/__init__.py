"""The bit-accurate simulator: an integer network in compiled loops, at the speed of bytes.

`simulate` computes what docs/arithmetic.md defines, the same bits for any thread count, batch
size and processor.
"""

from __future__ import annotations

from asq_hw.sim.engine import SimulationResult, simulate
from asq_hw.sim.statistics import LayerStatistics, StepSizes
from asq_hw.sim.tensors import TraceBatch

__all__ = ["LayerStatistics", "SimulationResult", "StepSizes", "TraceBatch", "simulate"]
