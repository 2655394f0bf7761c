"""Convolution and linear layers that quantize their input and their weights."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.weights import WeightQuantizer

__all__ = ["QuantConv2d", "QuantLinear"]


class QuantConv2d(nn.Conv2d):
    """A convolution of a quantized input with quantized weights.

    Attributes
    ----------
    activation_quantizer : BaseActivationQuantizer or None
        Quantizes the input first; None leaves it real.
    weight_quantizer : WeightQuantizer or None
        Quantizes the weights; None leaves them real.
    """

    activation_quantizer: BaseActivationQuantizer | None
    weight_quantizer: WeightQuantizer | None

    @classmethod
    def from_float(
        cls,
        layer: nn.Conv2d,
        *,
        activation_quantizer: BaseActivationQuantizer | None,
        weight_quantizer: WeightQuantizer | None,
    ) -> Self:
        """Make the quantized twin of a layer; it takes over all that is the layer's."""
        twin = cls(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]  # torch types it without its length
            stride=layer.stride,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            dilation=layer.dilation,  # type: ignore[arg-type]
            groups=layer.groups,
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
        )
        _take_over(twin, layer)
        twin.activation_quantizer = activation_quantizer
        twin.weight_quantizer = weight_quantizer
        _adapt(twin)
        return twin

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, O, H', W')``."""
        x = input if self.activation_quantizer is None else self.activation_quantizer(input)
        y: Tensor = self._conv_forward(x, _quantized_weight(self), self.bias)
        return y


class QuantLinear(nn.Linear):
    """A linear layer of a quantized input with quantized weights.

    Attributes
    ----------
    activation_quantizer : BaseActivationQuantizer or None
        Quantizes the input first; None leaves it real.
    weight_quantizer : WeightQuantizer or None
        Quantizes the weights; None leaves them real.
    """

    activation_quantizer: BaseActivationQuantizer | None
    weight_quantizer: WeightQuantizer | None

    @classmethod
    def from_float(
        cls,
        layer: nn.Linear,
        *,
        activation_quantizer: BaseActivationQuantizer | None,
        weight_quantizer: WeightQuantizer | None,
    ) -> Self:
        """Make the quantized twin of a layer; it takes over all that is the layer's."""
        twin = cls(layer.in_features, layer.out_features, bias=layer.bias is not None)
        _take_over(twin, layer)
        twin.activation_quantizer = activation_quantizer
        twin.weight_quantizer = weight_quantizer
        _adapt(twin)
        return twin

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C)`` to ``(N, O)``."""
        x = input if self.activation_quantizer is None else self.activation_quantizer(input)
        return functional.linear(x, _quantized_weight(self), self.bias)


def _take_over(twin: nn.Module, layer: nn.Module) -> None:
    """Give a layer's parameters, hooks and attributes to its twin, as they are, not copied."""
    modules = twin._modules
    vars(twin).update(vars(layer))
    twin._modules = modules


def _adapt(twin: QuantConv2d | QuantLinear) -> None:
    """Bring the quantizers to the layer's device, type and mode."""
    for quantizer in (twin.activation_quantizer, twin.weight_quantizer):
        if quantizer is not None:
            quantizer.to(device=twin.weight.device, dtype=twin.weight.dtype)
            quantizer.train(twin.training)


def _quantized_weight(layer: QuantConv2d | QuantLinear) -> Tensor:
    if layer.weight_quantizer is None:
        return layer.weight
    quantized: Tensor = layer.weight_quantizer(layer.weight)
    return quantized
