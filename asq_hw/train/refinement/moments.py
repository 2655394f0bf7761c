"""How the inputs of layers vary together: all that a layer's error in its outputs depends on.

With weights W, quantized weights Q and inputs x, the mean square of ``(Q - W) x`` about its mean
is ``(Q - W) C (Q - W)^T`` with C the inputs' covariance, of one output position at a time (Nagel
et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568, section
3). Its mean is left to the correction of biases.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["InputMoments", "input_parts"]

_WIDEST = 1 << 12
"""Values of an output's input whose covariance is measured together; more are taken in parts."""
_POSITIONS = 1 << 12
"""Output positions of a batch that are looked at, at even distances."""


class InputMoments:
    """Sums of a layer's inputs and of their products, for each output position that was looked at.

    Parameters
    ----------
    layer : QuantConv2d or QuantLinear
        The layer. An output reads K values of its input, which fall in G parts: the groups of a
        grouped convolution, or pieces of what is too wide.

    Attributes
    ----------
    count : int
        Output positions seen.
    """

    def __init__(self, layer: QuantConv2d | QuantLinear) -> None:
        self.layer, self.count = layer, 0
        self.parts = input_parts(layer)
        width = layer.weight[0].numel() * _groups(layer) // self.parts
        self._sums = layer.weight.new_zeros(self.parts, width)
        self._products = layer.weight.new_zeros(self.parts, width, width)

    def add(self, x: Tensor) -> None:
        """See a batch of inputs."""
        columns = self._columns(x).to(self._sums)
        self._sums += columns.sum(2)
        self._products.baddbmm_(columns, columns.transpose(1, 2))
        self.count += columns.shape[2]

    def _columns(self, x: Tensor) -> Tensor:
        """What some output positions read, ``(G, K, positions)``."""
        layer = self.layer
        if isinstance(layer, QuantLinear):
            return x.t().reshape(self.parts, -1, len(x))
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        windows = functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        for axis in (0, 1):
            size, stride, dilation = (
                values[axis] for values in (layer.kernel_size, layer.stride, layer.dilation)
            )
            span = dilation * (size - 1) + 1
            windows = windows.unfold(2 + axis, span, stride)[..., ::dilation]
        images, height, width = (windows.shape[axis] for axis in (0, 2, 3))
        count = images * height * width
        # An odd distance meets every column of a map whose width is a power of two.
        chosen = torch.arange(0, count, count // _POSITIONS | 1, device=x.device)
        image, place = chosen // (height * width), chosen % (height * width)
        found = windows[image, :, place // width, place % width]
        return found.reshape(len(chosen), self.parts, -1).permute(1, 2, 0)

    def covariance(self) -> Tensor:
        """The inputs' covariance ``(G, K, K)``, of few positions shrunk to its diagonal.

        What is beside the diagonal counts as ``count / (count + K)`` of what was measured: of fewer
        positions than values, any directions seem not to matter.
        """
        mean = self._sums / self.count
        covariance = self._products / self.count
        covariance.baddbmm_(mean[:, :, None], mean[:, None, :], alpha=-1)
        diagonal = covariance.diagonal(dim1=1, dim2=2)
        variances = diagonal.clamp(min=0)
        covariance *= self.count / (self.count + covariance.shape[1])
        diagonal.copy_(variances)
        return covariance


def _groups(layer: QuantConv2d | QuantLinear) -> int:
    return layer.groups if isinstance(layer, QuantConv2d) else 1


def input_parts(layer: QuantConv2d | QuantLinear) -> int:
    """In how many parts the covariance of a layer's inputs is measured."""
    width = layer.weight[0].numel()
    pieces = next(n for n in range(1, width + 1) if width % n == 0 and width // n <= _WIDEST)
    return _groups(layer) * pieces
