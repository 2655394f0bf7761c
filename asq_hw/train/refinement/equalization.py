"""Cross-layer equalization: channels between two layers brought to one range.

Where nothing but ReLU without an upper end and pooling stands between two layers, a channel can be
divided by a positive number behind the first and the second layer's weights for it multiplied,
without a change of the network's function (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", arXiv:1906.04721, section 4.1 and Eq. 11).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asq_hw.train.calibration import AnyLayer
from asq_hw.train.graph.operation import Operation, OperationKind, TracedNetwork
from asq_hw.train.graph.operations import trace
from asq_hw.train.quantizers.layers import QuantConv2d

__all__ = ["equalize"]

_PASSES = 20
_SETTLED = 0.01
"""Largest change of a factor, as a fraction, where it ends."""
_MOST_FACTOR = 64.0
"""By which a channel is multiplied at most, either way: a constant one has no range of its own."""
_HOMOGENEOUS = {
    OperationKind.FLATTEN,
    OperationKind.MAX_POOL,
    OperationKind.AVERAGE_POOL,
    OperationKind.GLOBAL_AVERAGE_POOL,
}
"""Operations, besides ReLU, that a positive factor on each channel passes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two layers whose channels in between can be scaled; each channel's factor so far ``(C,)``."""

    first: AnyLayer
    norm: nn.BatchNorm2d | None
    second: AnyLayer
    factors: Tensor

    def step(self) -> float:
        """Equalize once; the largest change of a factor, as a fraction."""
        ranges = self._first_range(), self._second_range()
        known = (ranges[0] > 0) & (ranges[1] > 0)
        factor = torch.where(known, (ranges[0] / ranges[1]).sqrt(), torch.ones_like(ranges[0]))
        new = (self.factors * factor).clamp(1 / _MOST_FACTOR, _MOST_FACTOR)
        factor = new / self.factors
        self.factors.copy_(new)
        behind: list[Tensor | None] = [self.first.weight, self.first.bias]
        if self.norm is not None:
            behind = [self.norm.weight, self.norm.bias]
        for values in behind:
            if values is not None:
                values.div_(factor.view(-1, *(1 for _ in values.shape[1:])))
        self._second_weight().mul_(self._along(factor))
        return float((factor.log2().abs()).max())

    def _first_range(self) -> Tensor:
        """The largest weight of each of the first layer's outputs, its batch norm's included."""
        largest = self.first.weight.flatten(1).abs().amax(1)
        if self.norm is None:
            return largest
        assert self.norm.running_var is not None
        return largest * self.norm.weight.abs() / (self.norm.running_var + self.norm.eps).sqrt()

    def _second_weight(self) -> Tensor:
        """The second layer's weights ``(G, O / G, C / G, ...)``, in their own memory."""
        weight = self.second.weight.data
        groups = self.second.groups if isinstance(self.second, QuantConv2d) else 1
        return weight.view(groups, len(weight) // groups, len(self.factors) // groups, -1)

    def _second_range(self) -> Tensor:
        return self._second_weight().abs().amax((1, 3)).flatten()

    def _along(self, factor: Tensor) -> Tensor:
        weight = self._second_weight()
        return factor.view(weight.shape[0], 1, weight.shape[2], 1)


@torch.no_grad()
def equalize(model: nn.Module) -> int:
    """Equalize the weights of a quantized network, in place, in floating point.

    Returns
    -------
    int
        How many pairs of layers have been equalized. A ReLU6 or a sum between two layers is in the
        way, and so is another reader of what is between them.
    """
    pairs = list(_pairs(trace(model)))
    for _ in range(_PASSES):
        if max((pair.step() for pair in pairs), default=0.0) < _SETTLED:
            break
    return len(pairs)


def _pairs(network: TracedNetwork) -> Iterator[_Pair]:
    operations = network.operations
    by_name = {operation.name: operation for operation in operations}
    readers = network.readers()
    norms = Counter(operation.batch_norm for operation in operations)
    for operation in operations:
        if operation.weighted is None:
            continue
        before = by_name[operation.sources[0]]
        while readers[before.name] == 1 and _is_homogeneous(before):
            before = by_name[before.sources[0]]
        norm = before.batch_norm
        is_free = norm is None or (norm.affine and norms[norm] == 1)
        if before.weighted is not None and readers[before.name] == 1 and is_free:
            yield _Pair(
                first=before.weighted,
                norm=norm,
                second=operation.weighted,
                factors=before.weighted.weight.new_ones(len(before.weighted.weight)),
            )


def _is_homogeneous(operation: Operation) -> bool:
    is_relu = operation.kind is OperationKind.RELU and operation.maximum is None
    return is_relu or operation.kind in _HOMOGENEOUS
