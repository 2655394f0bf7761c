"""Operations that have an integer form, and networks of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from torch import nn

from asq_hw.train.graph.selection import Selection
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["Operation", "OperationKind", "Padding", "TracedNetwork", "Window"]

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Padding = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Zeros before and behind channels, rows and columns."""


class OperationKind(Enum):
    """What an operation is in integers."""

    INPUT = auto()
    CONV = auto()
    LINEAR = auto()
    ADD = auto()
    MULTIPLY = auto()
    CONCAT = auto()
    PAD = auto()
    SELECT = auto()
    RELU = auto()
    LOOKUP = auto()
    FLATTEN = auto()
    MAX_POOL = auto()
    AVERAGE_POOL = auto()
    GLOBAL_AVERAGE_POOL = auto()

    @property
    def keeps_format(self) -> bool:
        """Whether the output has its sources' number format."""
        return self not in _OWN_FORMAT


_OWN_FORMAT = {
    OperationKind.INPUT,
    OperationKind.CONV,
    OperationKind.LINEAR,
    OperationKind.MULTIPLY,
    OperationKind.LOOKUP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation and, for the weighted ones, the batch norm that is folded into it.

    `node` is the name of the traced node whose value is the operation's output. `name` is the
    path of its module, or of the one whose forward calls it, with a number where that is taken.
    `function` computes a function of single values.
    """

    name: str
    kind: OperationKind
    node: str
    sources: tuple[str, ...] = ()
    weighted: QuantConv2d | QuantLinear | None = None
    batch_norm: nn.BatchNorm2d | None = None
    maximum: float | None = None
    window: Window | None = None
    padding: Padding | None = None
    selection: Selection | None = None
    function: nn.Module | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedNetwork:
    """A network as operations.

    Parameters
    ----------
    operations : tuple of Operation
        In execution order.
    results : mapping of str to str
        The operations whose outputs the network returns, by the names of what it returns
        (`asq_hw.train.graph.results.named`).
    """

    operations: tuple[Operation, ...]
    results: Mapping[str, str]

    def readers(self) -> Counter[str]:
        """How often each operation's output is read, by operations and as a result."""
        sources = [source for operation in self.operations for source in operation.sources]
        return Counter([*sources, *self.results.values()])
