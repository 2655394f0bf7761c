"""The adapter: how much wider or narrower than usual a sample's activations are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.network.activation import ADAPTER_RATIO, adapter_hidden_width
from asq_hw.numbers.widths import ADAPTER_BITS
from asq_hw.train.methods.adapting import ADAPTER_START

__all__ = [
    "BETA_FLOOR",
    "Adapter",
    "PaperAdapter",
    "channel_means",
    "quantize_weight",
    "weight_scale",
]

BETA_FLOOR = 1 / 64
"""Smallest factor the adapter can give."""

_LARGEST_CODE = 2 ** (ADAPTER_BITS - 1) - 1


def weight_scale(weight: Tensor) -> Tensor:
    """The step of a symmetric signed 8-bit code: ``max|w| / 127``, or 1 if all is zero."""
    scale = weight.detach().abs().amax().div_(_LARGEST_CODE)
    return scale.masked_fill_(scale == 0, 1)


def quantize_weight(weight: Tensor) -> Tensor:
    """A weight tensor rounded to signed 8-bit codes times its step."""
    scale = weight_scale(weight)
    # The largest weight over the step is the largest code, within a rounding: nothing to clip.
    return (weight.detach() / scale).round_().mul_(scale)


class _Beta(torch.autograd.Function):
    """All linear layers in one: apart, their forty small operations cost more than they compute.

    Each layer's output is bounded below: by 0, the last one's by the floor, which lies above the
    0 of its own ReLU. Gradients pass straight through the rounding of the weights.
    """

    @staticmethod
    def forward(ctx: Any, means: Tensor, *parameters: Tensor) -> Tensor:
        values, weights = [means], []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            weights.append(quantize_weight(weight))
            is_last = 2 * len(weights) == len(parameters)
            output = functional.linear(values[-1], weights[-1], bias)
            values.append(output.clamp_(min=BETA_FLOOR if is_last else 0))
        ctx.save_for_backward(*values, *weights)
        return values[-1].squeeze(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        layers = len(ctx.saved_tensors) // 2
        values, weights = ctx.saved_tensors[: layers + 1], ctx.saved_tensors[layers + 1 :]
        gradient, found = gradients[0][:, None], []
        for layer in reversed(range(layers)):
            bound = BETA_FLOOR if layer == layers - 1 else 0
            gradient = torch.ops.aten.threshold_backward(gradient, values[layer + 1], bound)
            found += [gradient.sum(0), gradient.t() @ values[layer]]
            gradient = gradient @ weights[layer]
        return gradient, *reversed(found)


def _in_full_precision(device_type: str) -> AbstractContextManager[Any]:
    """Leave autocast; entering a context costs as much as a layer here, so only where it is on."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def channel_means(x: Tensor) -> Tensor:
    """The means of ``(N, C, H, W)`` over H and W, float32 ``(N, C)``; others as they are."""
    return x.mean(dim=(2, 3), dtype=torch.float32) if x.dim() == 4 else x


class Adapter(ABC, nn.Module):
    """Base: a map from a sample's feature map to one positive factor, ``beta`` (paper, Eq. 4).

    Attributes
    ----------
    keeps_latest : bool
        Whether other layers take what it gave.
    latest : float tensor of shape (N,), or None
        What it gave at last, for these; copies begin without.
    """

    reads_input: ClassVar[bool] = True
    """Whether beta depends on this layer's own input."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps_latest = False
        self.latest: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` or ``(N, C)`` to beta of shape ``(N,)``, at least `BETA_FLOOR`."""
        with _in_full_precision(x.device.type):
            beta = self._beta(channel_means(x) if self.reads_input else x)
        if self.keeps_latest:
            self.latest = beta
        return beta

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"latest": None}

    def start(self, means: Tensor) -> None:
        """See the first batch's channel means ``(N, C)``, without learning from them."""

    @abstractmethod
    def _beta(self, means: Tensor) -> Tensor:
        """Map channel means ``(N, C)`` to beta ``(N,)``."""


class PaperAdapter(Adapter):
    """The paper's adapter.

    Global average pooling, then Linear(C, C / ratio), ReLU, Linear(C / ratio, 1), ReLU, and a
    floor. Where fewer than two hidden values would be left, a single Linear(C, 1). The weights act
    as their 8-bit codes already during training, so an exported adapter is the trained one; biases
    stay real.

    Parameters
    ----------
    channels : int
        Channels C of the feature map.
    start : float
        Deviation of the last layer's weights at first.
    ratio : int
        Channels for each hidden value.

    Attributes
    ----------
    hidden : nn.Linear or None
        The first linear layer, where there are two.
    output : nn.Linear
        The last one. It starts at beta = 1 for every input, but for small random weights.
    """

    def __init__(
        self, channels: int, *, start: float = ADAPTER_START, ratio: int = ADAPTER_RATIO
    ) -> None:
        super().__init__()
        reduced = adapter_hidden_width(channels, ratio) or None
        self.hidden = None if reduced is None else nn.Linear(channels, reduced)
        self.output = nn.Linear(channels if reduced is None else reduced, 1)
        nn.init.normal_(self.output.weight, std=start)
        nn.init.ones_(self.output.bias)

    def _beta(self, means: Tensor) -> Tensor:
        parameters = [p for layer in self.linear_layers() for p in (layer.weight, layer.bias)]
        beta: Tensor = _Beta.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
            means.to(self.output.weight.dtype), *parameters
        )
        return beta

    def linear_layers(self) -> list[nn.Linear]:
        """The linear layers in the order they act."""
        return [self.output] if self.hidden is None else [self.hidden, self.output]
