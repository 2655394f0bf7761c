"""The bit-accurate simulator: an integer network in compiled loops, at the speed of bytes.

`simulate` computes what docs/arithmetic.md defines, the same bits for any thread count, batch
size and processor.
"""

from __future__ import annotations

from asq_hw.sim.engine import SimulationResult, simulate
from asq_hw.sim.profile import profile_layers
from asq_hw.sim.statistics import LayerStatistics, StepSizes
from asq_hw.sim.tensors import TraceBatch, tensor_shapes
from asq_hw.sim.trace import Difference, TraceComparison, compare_traces, write_trace

__all__ = [
    "Difference",
    "LayerStatistics",
    "SimulationResult",
    "StepSizes",
    "TraceBatch",
    "TraceComparison",
    "compare_traces",
    "profile_layers",
    "simulate",
    "tensor_shapes",
    "write_trace",
]
