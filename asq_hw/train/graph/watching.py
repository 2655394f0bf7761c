"""The values that a network computes on the way to its scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from asq_hw.train.graph.dataflow import QuantTracer

__all__ = ["Watched"]


class Watched(fx.Interpreter):
    """A network whose values are kept, by the names of the nodes of its traced graph.

    Parameters
    ----------
    model : nn.Module
        A network that `torch.fx` can trace.
    nodes : iterable of str
        Whose values are kept.

    Raises
    ------
    LookupError
        If there is no such node.
    """

    def __init__(self, model: nn.Module, nodes: Iterable[str]) -> None:
        super().__init__(fx.GraphModule(model, QuantTracer().trace(model)))
        self._wanted = set(nodes)
        if missing := self._wanted - {node.name for node in self.module.graph.nodes}:  # type: ignore[union-attr]
            raise LookupError(min(missing))
        self._kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def values(self, x: Tensor) -> dict[str, Tensor]:
        """The values on a batch ``(N, C, H, W)``."""
        self._kept = {}
        self.run(x)
        return self._kept

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node's value, and keep it if it is wanted."""
        value = super().run_node(n)
        if n.name in self._wanted:
            self._kept[n.name] = value
        return value
