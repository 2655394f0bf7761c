"""Layer shapes: what a cost count needs to know of a network, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.widths import FEATURE_BITS

__all__ = ["LayerKind", "LayerShape", "NetworkShape"]


class LayerKind(StrEnum):
    """What a layer with weights computes."""

    CONVOLUTION = "conv"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """The shape of one convolution or linear layer on one image.

    Parameters
    ----------
    name : str
        Name within the network.
    kind : LayerKind
        A linear layer is a 1 x 1 convolution of a 1 x 1 image here.
    in_channels, out_channels, groups : int
        Channels and the number of groups they are split into; depthwise has one for each channel.
    kernel_size, stride, padding, dilation : tuple of int
        Height and width.
    in_height, in_width : int
        Size of the input feature map in pixels.
    quantized : bool
        Whether weights and inputs have the network's low width; else 8 bit (first, last layer).
    adapter_hidden : int or None
        Hidden width of the ASQ adapter that reads this layer's input; 0 is a single linear
        layer, None is no adapter (a step size that is fixed, or a shared exponent).
    shares_adapter : bool
        Whether the step is another layer's, times a constant: that of the adapter of its block.
    shares_exponent : bool
        Whether the step is a power of two from the largest value of this layer's input.
    feature_bits : int
        Width of the input feature map's integers.
    weight_grid : Grid or None
        Grid of the weights in a model file; None where no weights exist yet.
    activation_bits : int or None
        Width of the quantized inputs in a model file; None where it is that of the weights.
    """

    name: str
    kind: LayerKind = LayerKind.CONVOLUTION
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    in_height: int = 1
    in_width: int = 1
    quantized: bool = True
    adapter_hidden: int | None = None
    shares_adapter: bool = False
    shares_exponent: bool = False
    feature_bits: int = FEATURE_BITS
    weight_grid: Grid | None = None
    activation_bits: int | None = None

    @property
    def out_height(self) -> int:
        """Height of the output feature map in pixels."""
        return self._positions(self.in_height, axis=0)

    @property
    def out_width(self) -> int:
        """Width of the output feature map in pixels."""
        return self._positions(self.in_width, axis=1)

    def _positions(self, size: int, axis: int) -> int:
        window = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        return (size + 2 * self.padding[axis] - window) // self.stride[axis] + 1

    @property
    def inputs(self) -> int:
        """Elements of the input feature map."""
        return self.in_channels * self.in_height * self.in_width

    @property
    def outputs(self) -> int:
        """Elements of the output feature map."""
        return self.out_channels * self.out_height * self.out_width

    @property
    def weights(self) -> int:
        """Weights without biases (paper, Eq. 10 for one layer)."""
        fan_in = self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]
        return self.out_channels * fan_in

    @property
    def multiplications(self) -> int:
        """Multiplications for one image (paper, Eq. 12 for one layer)."""
        return self.weights * self.out_height * self.out_width

    @property
    def has_adapter(self) -> bool:
        """Whether an ASQ adapter reads this layer's input."""
        return self.adapter_hidden is not None

    @property
    def has_adaptive_step(self) -> bool:
        """Whether an adapter, its own or its block's, gives each sample a step."""
        return self.has_adapter or self.shares_adapter

    @property
    def waits_for_input(self) -> bool:
        """Whether the whole input must be known before its first element can be quantized."""
        return self.has_adapter or self.shares_exponent

    @property
    def adapter_weights(self) -> int:
        """Weights of the adapter without biases, C * h + h (paper, Eq. 11); C with one linear."""
        if self.adapter_hidden is None:
            return 0
        return self.in_channels * (self.adapter_hidden or 1) + self.adapter_hidden

    @property
    def adapter_outputs(self) -> int:
        """Hidden units and the output of the adapter; each has one bias."""
        return 0 if self.adapter_hidden is None else self.adapter_hidden + 1

    @property
    def adapter_stages(self) -> int:
        """Linear layers of the adapter."""
        if self.adapter_hidden is None:
            return 0
        return 2 if self.adapter_hidden else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkShape:
    """The layers with weights of one network, in the order they run.

    Parameters
    ----------
    name : str
        Name the network is known by.
    layers : tuple of LayerShape
        Convolutions and linear layers; pooling and additions hold no weights.
    """

    name: str
    layers: tuple[LayerShape, ...]

    @property
    def convolutions(self) -> tuple[LayerShape, ...]:
        """The convolutions, the first one included."""
        return tuple(layer for layer in self.layers if layer.kind is LayerKind.CONVOLUTION)
