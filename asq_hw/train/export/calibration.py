"""How large a network's values get on real images, measured before they become integers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from asq_hw.errors import InputError
from asq_hw.train.data.pixels import GivenIntegers
from asq_hw.train.graph.dataflow import QuantTracer
from asq_hw.train.graph.operation import Operation
from asq_hw.train.quantizers.activations import IntegerActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter, PaperAdapter

__all__ = ["Calibration", "calibrate"]

_AT_ONCE = 128
"""Images that are run together,"""
_PIXELS_AT_ONCE = 1 << 22
"""and no more than have so many pixels: the maps behind them are larger."""
_MOST_POSITIONS = 1 << 32


@dataclass(slots=True, kw_only=True)
class Calibration:
    """What calibration saw, by operation.

    Attributes
    ----------
    low, high : dict of str to (C,) arrays
        Smallest and largest value of each channel of the output.
    positions : dict of str to int
        Height times width of the output.
    step, hidden : dict of str to float
        Largest step size that acts, and largest hidden value of the paper's adapter.
    """

    low: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    high: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    step: dict[str, float] = field(default_factory=dict)
    hidden: dict[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, dict[str, Any]]:
        """As a checkpoint holds it: tensors and numbers by operation."""
        return {
            "low": {name: torch.from_numpy(values) for name, values in self.low.items()},
            "high": {name: torch.from_numpy(values) for name, values in self.high.items()},
            "positions": dict(self.positions),
            "step": dict(self.step),
            "hidden": dict(self.hidden),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, dict[str, Any]]) -> Calibration:
        """Read what `to_plain` made.

        Raises
        ------
        AttributeError, KeyError, TypeError, ValueError
            If it is something else.
        """
        found = cls(
            low={name: _bounds(values) for name, values in plain["low"].items()},
            high={name: _bounds(values) for name, values in plain["high"].items()},
            positions={name: int(count) for name, count in plain["positions"].items()},
            step={name: float(step) for name, step in plain["step"].items()},
            hidden={name: float(value) for name, value in plain["hidden"].items()},
        )
        if not found.low.keys() == found.high.keys() == found.positions.keys():
            raise ValueError("ranges must have a low, a high and positions of every operation")
        for name, low in found.low.items():
            if low.shape != found.high[name].shape or (low > found.high[name]).any():
                raise ValueError(f"ranges must have a low below the high of {name}")
        sizes = [*found.step.values(), *found.hidden.values()]
        if not all(0 <= size < math.inf for size in sizes):
            raise ValueError("ranges must have steps and hidden values that are finite")
        if not all(1 <= count <= _MOST_POSITIONS for count in found.positions.values()):
            raise ValueError(f"ranges must have 1 to {_MOST_POSITIONS} positions")
        return found

    def magnitude(self, name: str) -> float:
        """Largest absolute value of an operation's output."""
        return float(max(np.abs(self.low[name]).max(), np.abs(self.high[name]).max()))


def _bounds(values: Tensor) -> NDArray[np.float64]:
    """One bound of each channel."""
    bounds: NDArray[np.float64] = values.numpy().astype(np.float64)
    if bounds.ndim != 1 or not len(bounds) or not np.isfinite(bounds).all():
        raise ValueError("ranges must have a finite number for each channel")
    return bounds


class _Watcher(fx.Interpreter):
    """Runs the traced network and keeps the extremes of every operation."""

    def __init__(self, model: nn.Module, operations: Sequence[Operation]) -> None:
        super().__init__(fx.GraphModule(model, QuantTracer().trace(model)))
        self.seen = Calibration()
        self._by_node = {operation.node: operation for operation in operations}
        self._by_module: defaultdict[nn.Module, list[str]] = defaultdict(list)
        for operation in operations:
            if operation.weighted is not None:
                self._by_module[operation.weighted].append(operation.name)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        operation = self._by_node.get(n.name)
        if operation is not None:
            self._see(operation, value)
        return value

    def _see(self, operation: Operation, value: Tensor) -> None:
        axes = (0, *range(2, value.dim()))
        low, high = (
            bound.double().cpu().numpy() for bound in (value.amin(dim=axes), value.amax(dim=axes))
        )
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(
                f"{operation.name}: values must be finite, and are not on these images"
            )
        name, seen = operation.name, self.seen
        seen.low[name] = np.minimum(seen.low.get(name, low), low)
        seen.high[name] = np.maximum(seen.high.get(name, high), high)
        self.seen.positions[operation.name] = value[0, 0].numel() if value.dim() == 4 else 1

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        quantizer = getattr(module, "activation_quantizer", None)
        if isinstance(quantizer, IntegerActivationQuantizer):
            step = float(quantizer.steps(args[0]).max())
            for name in self._by_module[module]:
                _raise_to(self.seen.step, name, step)
                _raise_to(self.seen.hidden, name, _largest_hidden(quantizer.adapter, args[0]))
        return super().call_module(target, args, kwargs)


def _largest_hidden(adapter: Adapter | None, x: Tensor) -> float:
    if not isinstance(adapter, PaperAdapter) or adapter.hidden is None:
        return 0.0
    mean = x.mean(dim=(2, 3)) if x.dim() == 4 else x
    return max(0.0, float(adapter.hidden(mean).max()))


def _raise_to(maxima: dict[str, float], name: str, value: float) -> None:
    maxima[name] = max(maxima.get(name, 0.0), value)


def calibrate(
    model: nn.Module, operations: Sequence[Operation], given: GivenIntegers
) -> Calibration:
    """Run images through a network, and return the extremes seen.

    Parameters
    ----------
    model : nn.Module
        The network, in evaluation mode.
    operations : sequence of Operation
        What was read from it.
    given : GivenIntegers
        The images.

    Raises
    ------
    InputError
        If an operation's output is not finite.
    """
    watcher = _Watcher(model, operations)
    device = next(model.parameters()).device
    batch_size = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // given.integers[:1].size))
    with torch.inference_mode():
        for start in range(0, len(given), batch_size):
            watcher.run(given.values(slice(start, start + batch_size)).to(device))
    return watcher.seen
