"""One node of a graph with what it is given: constants, and tensors whose shapes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asq_hw.interchange.reading.folding import axes_of
from asq_hw.interchange.reading.graph import Constant, Graph, Node

__all__ = ["Call"]

_FLOATS = (np.float16, np.float32, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A node that is turned into a module.

    Parameters
    ----------
    node : Node
    graph : Graph
    inputs : sequence of array, tensor or None
        Constants, tensors without values, and what is left out.
    """

    node: Node
    graph: Graph
    inputs: Sequence[Constant | Tensor | None]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input, which must be no constant."""
        return tuple(self.tensor(0).shape)

    def tensor(self, place: int) -> Tensor:
        """An input that must be no constant."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if not isinstance(found, Tensor):
            raise self.node.refused(f"{self.node.operator} must not have a constant as its input")
        return found

    def constant(self, place: int, what: str) -> Constant | None:
        """An input that must be a constant, or left out."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(found, Tensor):
            raise self.node.refused(f"{what} must be a constant")
        return found

    def needed(self, place: int, what: str) -> Constant:
        """An input that must be a constant."""
        found = self.constant(place, what)
        if found is None:
            raise self.node.refused(f"{what} must be given")
        return found

    def weights(self, place: int, what: str) -> Tensor:
        """A constant in floating point, as a tensor of its own."""
        return self.as_tensor(self.needed(place, what), what)

    def as_tensor(self, values: Constant, what: str) -> Tensor:
        """A constant as a tensor of its own."""
        if values.dtype not in _FLOATS:
            raise self.node.refused(f"{what} must be floating point, not {values.dtype}")
        return torch.from_numpy(np.array(values, dtype=np.float32))

    def whole(self, place: int, what: str) -> list[int]:
        """A constant list of integers."""
        found = self.needed(place, what)
        if found.dtype.kind != "i":
            raise self.node.refused(f"{what} must be integers, not {found.dtype}")
        return [int(value) for value in found.reshape(-1)]

    def scalar(self, place: int, what: str) -> float | None:
        """A constant number, or None where it is left out."""
        found = self.constant(place, what)
        if found is None:
            return None
        if found.size != 1:
            raise self.node.refused(f"{what} must be one number, not {found.size}")
        return float(found.reshape(-1)[0])

    def axes(self, since: int) -> list[int]:
        """Axes of the first input, counted from 0: an attribute, or an input from an opset on."""
        constants = [one if isinstance(one, np.ndarray) else None for one in self.inputs]
        rank = len(self.shape)
        found = [
            axis + rank if axis < 0 else axis
            for axis in axes_of(self.node, constants, self.graph, since)
        ]
        if any(not 0 <= axis < rank for axis in found):
            raise self.node.refused(f"axes must be those of {rank} dimensions, not {found}")
        if 0 in found:
            raise self.node.refused("what is computed over several images has no integer form")
        return found
