"""Convolution and linear layers that quantize their input and their weights."""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.weights import IntegerWeightQuantizer, WeightQuantizer

__all__ = ["QuantConv2d", "QuantLinear"]


class _QuantizedLayer(nn.Module):
    """What both kinds of layer have: their quantizers.

    Attributes
    ----------
    activation_quantizer : BaseActivationQuantizer or None
        Quantizes the input first; None leaves it real.
    weight_quantizer : WeightQuantizer or None
        Quantizes the weights; None leaves them real.
    has_odd_codes : bool
        Whether weights that are odd powers of the square root of two meet odd codes: ``post-dual``.
    """

    weight: Tensor
    has_odd_codes = False
    activation_quantizer: BaseActivationQuantizer | None
    weight_quantizer: WeightQuantizer | None

    def become(
        self,
        layer: nn.Module,
        activation_quantizer: BaseActivationQuantizer | None,
        weight_quantizer: WeightQuantizer | None,
        product: ProductKind,
    ) -> Self:
        """Take over all that is the layer's: its parameters, hooks and attributes, not copied.

        Raises
        ------
        InputError
            If the product needs odd codes, and the activations' method makes none.
        """
        modules = self._modules
        vars(self).update(vars(layer))
        self._modules = modules
        self.activation_quantizer = activation_quantizer
        self.weight_quantizer = weight_quantizer
        self.has_odd_codes = _needs_odd_codes(weight_quantizer, activation_quantizer, product)
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

    def odd_part(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The input by its odd codes, and the quantized weights that are odd powers and the others.

        Each has zeros in the place of the other's.
        """
        quantizer, weights = self.activation_quantizer, self.weight_quantizer
        assert quantizer is not None and isinstance(weights, IntegerWeightQuantizer)
        are_odd = weights.are_odd(self.weight)
        return quantizer.odd(x), weight.masked_fill(~are_odd, 0), weight.masked_fill(are_odd, 0)


def _needs_odd_codes(
    weights: WeightQuantizer | None,
    activations: BaseActivationQuantizer | None,
    product: ProductKind,
) -> bool:
    """Whether a layer with these quantizers has odd codes."""
    if not isinstance(weights, IntegerWeightQuantizer) or activations is None:
        return False
    if not Product(kind=product).uses_odd_codes(weights.grid):
        return False
    if not activations.has_odd_codes:
        raise InputError(
            f"product {product} needs activations lsq, asq or asq-constant, "
            f"not those of {type(activations).__name__}"
        )
    return True


class QuantConv2d(_QuantizedLayer, nn.Conv2d):
    """A convolution of a quantized input with quantized weights."""

    @classmethod
    def from_float(
        cls,
        layer: nn.Conv2d,
        *,
        activation_quantizer: BaseActivationQuantizer | None,
        weight_quantizer: WeightQuantizer | None,
        product: ProductKind = ProductKind.POST_SPLIT,
    ) -> Self:
        """Make the quantized twin of a layer; it takes over all that is the layer's.

        Parameters
        ----------
        layer : nn.Module
            In floating point.
        activation_quantizer : BaseActivationQuantizer or None
            Of its input.
        weight_quantizer : WeightQuantizer or None
            Of its weights.
        product : ProductKind
            How weights with the square root of two multiply.

        Raises
        ------
        InputError
            If the product needs odd codes, and the activations' method makes none.
        """
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
        return twin.become(layer, activation_quantizer, weight_quantizer, product)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, O, H', W')``."""
        x, weight = self.quantized_input(input), self.quantized_weight()
        if not self.has_odd_codes:
            y: Tensor = self._conv_forward(x, weight, self.bias)
            return y
        odd, odd_weight, weight = self.odd_part(input, weight)
        both: Tensor = self._conv_forward(x, weight, self.bias) + self._conv_forward(
            odd, odd_weight, None
        )
        return both


class QuantLinear(_QuantizedLayer, nn.Linear):
    """A linear layer of a quantized input with quantized weights."""

    @classmethod
    def from_float(
        cls,
        layer: nn.Linear,
        *,
        activation_quantizer: BaseActivationQuantizer | None,
        weight_quantizer: WeightQuantizer | None,
        product: ProductKind = ProductKind.POST_SPLIT,
    ) -> Self:
        """Make the quantized twin of a layer; it takes over all that is the layer's.

        Parameters are those of `QuantConv2d.from_float`.
        """
        twin = cls(layer.in_features, layer.out_features, bias=layer.bias is not None)
        return twin.become(layer, activation_quantizer, weight_quantizer, product)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C)`` to ``(N, O)``."""
        x, weight = self.quantized_input(input), self.quantized_weight()
        if not self.has_odd_codes:
            return functional.linear(x, weight, self.bias)
        odd, odd_weight, weight = self.odd_part(input, weight)
        return functional.linear(x, weight, self.bias) + functional.linear(odd, odd_weight)
