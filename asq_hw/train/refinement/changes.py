"""What post-training quantization changed in a network, so that it can begin anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["Change", "changes", "real_tensors", "take_back"]


@dataclass(frozen=True, slots=True)
class Change:
    """A tensor as it was, and as it was left."""

    before: Tensor
    after: Tensor


def real_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights, biases and statistics of a quantized network, in their own memory, by name."""
    return {
        f"{path}.{name}" if path else name: tensor.data
        for path, module in model.named_modules()
        if isinstance(module, QuantConv2d | QuantLinear | nn.BatchNorm2d)
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    }


def take_back(model: nn.Module, changed: Mapping[str, Change]) -> None:
    """Give tensors back the values that they had, where nothing else has changed them since."""
    for name, tensor in real_tensors(model).items():
        change = changed.get(name)
        if change is not None and torch.equal(tensor, change.after.to(tensor)):
            tensor.copy_(change.before)


def changes(model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Change]:
    """What is not as it was."""
    return {
        name: Change(before[name], tensor.clone())
        for name, tensor in real_tensors(model).items()
        if name in before and not torch.equal(tensor, before[name])
    }
