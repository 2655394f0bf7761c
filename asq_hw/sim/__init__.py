"""The bit-accurate simulator: an integer network in compiled loops, at the speed of bytes.

`simulate` computes what docs/arithmetic.md defines, the same bits for any thread count, batch
size and processor. Modules that need the compiler are loaded when one of their names is first
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asq_hw.sim.engine import simulate
    from asq_hw.sim.profile import profile_layers
    from asq_hw.sim.results import OutputValues, SimulationResult
    from asq_hw.sim.statistics import LayerStatistics, StepSizes
    from asq_hw.sim.tensors import TraceBatch, tensor_shapes
    from asq_hw.sim.trace import Difference, TraceComparison, compare_traces, write_trace

__all__ = [
    "Difference",
    "LayerStatistics",
    "OutputValues",
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

_MODULES = ("engine", "profile", "results", "statistics", "tensors", "trace")
"""Where these names are defined."""


def __getattr__(name: str) -> object:
    """One of the public names."""
    if name in __all__:
        modules = (import_module(f"{__name__}.{module}") for module in _MODULES)
        for module in modules:
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
