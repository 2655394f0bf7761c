"""One traced operation in floating point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from asq_hw.train.graph.operation import Operation, OperationKind

__all__ = ["alike", "apply"]


def alike(sources: list[Tensor]) -> list[Tensor]:
    """Vectors as maps of one position, where another source is a map.

    A flatten behind global pooling is no operation, so that one of two vectors can be a map here.
    """
    if len({source.dim() for source in sources}) < 2:
        return sources
    return [_as_map(source) for source in sources]


def apply(operation: Operation, sources: Sequence[Tensor]) -> Tensor:
    """One operation in floating point, without changing what it reads."""
    x = sources[0]
    match operation.kind:
        case OperationKind.INPUT:
            return x
        case OperationKind.CONV | OperationKind.LINEAR:
            return _weighted(operation, x)
        case OperationKind.ADD:
            return x + sources[1]
        case OperationKind.MULTIPLY:
            return x * sources[1]
        case OperationKind.LOOKUP:
            assert operation.function is not None
            made: Tensor = operation.function(x.clone())  # which it may write into
            return made
        case OperationKind.CONCAT:
            return torch.cat(list(sources), dim=1)
        case OperationKind.PAD:
            assert operation.padding is not None
            channels, rows, columns = operation.padding
            return functional.pad(x, (*columns, *rows, *channels))
        case OperationKind.SELECT:
            assert operation.selection is not None
            whole = _as_map(x)
            selected: Tensor = whole[operation.selection.index(whole.dim())]
            return selected
        case OperationKind.RELU:
            return (
                functional.relu(x) if operation.maximum is None else x.clamp(0, operation.maximum)
            )
        case OperationKind.FLATTEN:
            return x.flatten(1)
        case OperationKind.MAX_POOL:
            assert operation.window is not None
            return functional.max_pool2d(x, *operation.window)
        case OperationKind.AVERAGE_POOL:
            assert operation.window is not None
            return functional.avg_pool2d(x, *operation.window)
        case OperationKind.GLOBAL_AVERAGE_POOL:
            return functional.adaptive_avg_pool2d(x, 1)


def _weighted(operation: Operation, x: Tensor) -> Tensor:
    assert operation.weighted is not None
    is_linear = operation.kind is OperationKind.LINEAR
    y: Tensor = operation.weighted(x.flatten(1) if is_linear else _as_map(x))
    return y if operation.batch_norm is None else operation.batch_norm(y)


def _as_map(x: Tensor) -> Tensor:
    """A vector is a map of one position."""
    return x if x.dim() == 4 else x[:, :, None, None]
