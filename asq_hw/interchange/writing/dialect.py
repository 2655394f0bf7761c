"""What ONNX and QONNX have different: how a feature map is held, and how codes meet weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from asq_hw.interchange.writing.graph import GraphWriter
from asq_hw.network.activation import ActivationQuantizer
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.validation import IntArray

__all__ = ["Dialect", "Step", "convolution_attributes", "window_attributes"]

Step = int | str
"""One for all samples, or a tensor of one for each: int64 (N, 1, 1, 1)."""


class Dialect(ABC):
    """A way to write an integer network as a graph.

    Attributes
    ----------
    name : str
        As the command line calls it.
    title : str
        For people.
    domains : dict of str to int
        Version of each set of operators.
    fixed_batch : bool
        Whether the number of images is a part of the graph.
    dtype : type
        Of maps and scores.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    domains: ClassVar[dict[str, int]]
    fixed_batch: ClassVar[bool]
    dtype: ClassVar[type]

    @abstractmethod
    def integers(self, graph: GraphWriter, tensor: str, form: FeatureFormat) -> str:
        """X of a map, as int64."""

    @abstractmethod
    def stored(
        self, graph: GraphWriter, integers: str, form: FeatureFormat, output: str | None = None
    ) -> str:
        """The map of int64 integers that need not fit its bits: they saturate.

        Parameters
        ----------
        graph : GraphWriter
        integers : str
            An int64 tensor.
        form : FeatureFormat
            Of the map.
        output : str, optional
            Name of what is made.
        """

    @abstractmethod
    def saturated(
        self, graph: GraphWriter, tensor: str, form: FeatureFormat, output: str | None = None
    ) -> str:
        """A map whose values need not fit its bits.

        Parameters
        ----------
        graph : GraphWriter
        tensor : str
            Values as this dialect holds them.
        form : FeatureFormat
            Of the map.
        output : str, optional
            Name of what is made.
        """

    @abstractmethod
    def number(self, graph: GraphWriter, value: int, form: FeatureFormat) -> str:
        """A constant X as a map holds it."""

    @abstractmethod
    def max_pool(self, graph: GraphWriter, tensor: str, output: str, **attributes: Any) -> str:
        """The largest value of each window."""

    @abstractmethod
    def codes(
        self,
        graph: GraphWriter,
        tensor: str,
        form: FeatureFormat,
        quantizer: ActivationQuantizer,
        step: Step,
    ) -> str:
        """Activation codes of a map, as `dot` takes them.

        Parameters
        ----------
        graph : GraphWriter
        tensor : str
            The map.
        form : FeatureFormat
            The map's.
        quantizer : ActivationQuantizer
            What quantizes it.
        step : int or str
            Its step.
        """

    @abstractmethod
    def dot(self, graph: GraphWriter, layer: Conv | Linear, codes: str, weights: IntArray) -> str:
        """Sums of products of codes and integer weights, int64 (N, O, H, W).

        Parameters
        ----------
        graph : GraphWriter
        layer : Conv or Linear
            Whose they are.
        codes : str
            What `codes` made.
        weights : int64 array
            Of the layer's shape.
        """


def convolution_attributes(layer: Conv) -> dict[str, Any]:
    """Attributes of a convolution."""
    dilation = {"dilations": list(layer.dilation)}
    return {**window_attributes(layer), **dilation, "group": layer.groups}


def window_attributes(layer: Any) -> dict[str, list[int]]:
    """A window's attributes: of a layer with kernel, stride and padding."""
    rows, columns = layer.padding
    return {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.stride),
        "pads": [rows, columns, rows, columns],
    }
