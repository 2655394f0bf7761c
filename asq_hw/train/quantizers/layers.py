"""Convolution and linear layers that quantize their input and their weights."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.weights import WeightQuantizer

__all__ = ["QuantConv2d", "QuantLinear"]


class _QuantizedLayer(nn.Module):
    """What both kinds of layer have: their quantizers.

    Attributes
    ----------
    activation_quantizer : BaseActivationQuantizer or None
        Quantizes the input first; None leaves it real.
    weight_quantizer : WeightQuantizer or None
        Quantizes the weights; None leaves them real.
    """

    weight: Tensor
    activation_quantizer: BaseActivationQuantizer | None
    weight_quantizer: WeightQuantizer | None

    def become(
        self,
        layer: nn.Module,
        activation_quantizer: BaseActivationQuantizer | None,
        weight_quantizer: WeightQuantizer | None,
    ) -> Self:
        """Take over all that is the layer's: its parameters, hooks and attributes, not copied."""
        modules = self._modules
        vars(self).update(vars(layer))
        self._modules = modules
        self.activation_quantizer = activation_quantizer
        self.weight_quantizer = weight_quantizer
        for quantizer in (activation_quantizer, weight_quantizer):
            if quantizer is not None:
                quantizer.to(device=self.weight.device, dtype=self.weight.dtype)
                quantizer.train(self.training)
        return self

    def quantized_input(self, x: Tensor) -> Tensor:
        """The input as the layer computes with it."""
        return x if self.activation_quantizer is None else self.activation_quantizer(x)

    def quantized_weight(self) -> Tensor:
        """The weights as the layer computes with them."""
        return self.weight if self.weight_quantizer is None else self.weight_quantizer(self.weight)


class QuantConv2d(_QuantizedLayer, nn.Conv2d):
    """A convolution of a quantized input with quantized weights."""

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
        return twin.become(layer, activation_quantizer, weight_quantizer)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, O, H', W')``."""
        x = self.quantized_input(input)
        y: Tensor = self._conv_forward(x, self.quantized_weight(), self.bias)
        return y


class QuantLinear(_QuantizedLayer, nn.Linear):
    """A linear layer of a quantized input with quantized weights."""

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
        return twin.become(layer, activation_quantizer, weight_quantizer)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C)`` to ``(N, O)``."""
        return functional.linear(self.quantized_input(input), self.quantized_weight(), self.bias)
