"""Layer shapes of the networks known by name: ResNet-18, -34, -20 and MobileNet-V2.

Every convolution but the first is quantized and has an ASQ adapter on its input; the first
convolution and the classifier stay at 8 bit, as in the paper's experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from analysis.cost.shapes import LayerKind, LayerShape, NetworkShape
from asq_hw.errors import InputError
from asq_hw.network.activation import adapter_hidden_width

__all__ = ["NETWORK_NAMES", "named_network"]

_MAX_SIZE = 1 << 14
_MAX_CHANNELS = 1 << 10


@dataclass(frozen=True, slots=True)
class _Map:
    """Size of a feature map."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class _Builder:
    """Layers so far. Each method appends layers that read `source` and returns their output."""

    layers: list[LayerShape] = field(default_factory=list)

    def convolution(
        self,
        name: str,
        source: _Map,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> _Map:
        """A convolution padded by half its kernel; all but the network's first are quantized."""
        quantized = bool(self.layers)
        layer = LayerShape(
            name=name,
            in_channels=source.channels,
            out_channels=out_channels,
            kernel_size=(kernel, kernel),
            stride=(stride, stride),
            padding=(kernel // 2, kernel // 2),
            groups=groups,
            in_height=source.height,
            in_width=source.width,
            quantized=quantized,
            adapter_hidden=adapter_hidden_width(source.channels) if quantized else None,
        )
        self.layers.append(layer)
        return _Map(out_channels, layer.out_height, layer.out_width)

    def basic_block(self, name: str, source: _Map, out_channels: int, stride: int) -> _Map:
        """Two 3 x 3 convolutions and, where the shape changes, a 1 x 1 shortcut (option B)."""
        hidden = self.convolution(f"{name}.conv1", source, out_channels, 3, stride)
        output = self.convolution(f"{name}.conv2", hidden, out_channels, 3)
        if source != output:
            self.convolution(f"{name}.downsample", source, out_channels, 1, stride)
        return output

    def inverted_residual(
        self, name: str, source: _Map, out_channels: int, stride: int, expansion: int
    ) -> _Map:
        """1 x 1 expansion (none at ratio 1), 3 x 3 depthwise, 1 x 1 projection."""
        channels = source.channels * expansion
        if expansion != 1:
            source = self.convolution(f"{name}.expand", source, channels, 1)
        hidden = self.convolution(f"{name}.depthwise", source, channels, 3, stride, groups=channels)
        return self.convolution(f"{name}.project", hidden, out_channels, 1)

    def classifier(self, source: _Map, classes: int) -> tuple[LayerShape, ...]:
        """The 8-bit linear layer behind global average pooling; ends the network."""
        self.layers.append(
            LayerShape(
                name="classifier",
                kind=LayerKind.LINEAR,
                in_channels=source.channels,
                out_channels=classes,
                quantized=False,
            )
        )
        return tuple(self.layers)


def _imagenet_resnet(blocks: tuple[int, int, int, int], image: _Map) -> tuple[LayerShape, ...]:
    """ResNet of basic blocks (He et al., arXiv:1512.03385, table 1)."""
    builder = _Builder()
    stem = builder.convolution("conv1", image, 64, 7, stride=2)
    # 3 x 3 max pooling with stride 2 and padding 1.
    source = _Map(64, (stem.height + 1) // 2, (stem.width + 1) // 2)
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage and not block else 1
            name = f"layer{stage + 1}.{block}"
            source = builder.basic_block(name, source, 64 << stage, stride)
    return builder.classifier(source, 1000)


def _resnet18(image: _Map) -> tuple[LayerShape, ...]:
    return _imagenet_resnet((2, 2, 2, 2), image)


def _resnet34(image: _Map) -> tuple[LayerShape, ...]:
    return _imagenet_resnet((3, 4, 6, 3), image)


def _resnet20(image: _Map) -> tuple[LayerShape, ...]:
    """CIFAR ResNet (He et al., section 4.2) with 1 x 1 convolutions as shortcuts (option B)."""
    builder = _Builder()
    source = builder.convolution("conv1", image, 16, 3)
    for stage in range(3):
        for block in range(3):
            stride = 2 if stage and not block else 1
            name = f"layer{stage + 1}.{block}"
            source = builder.basic_block(name, source, 16 << stage, stride)
    return builder.classifier(source, 10)


# Expansion, output channels, blocks, stride of the first (arXiv:1801.04381, table 2).
_INVERTED_RESIDUALS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _mobilenetv2(image: _Map) -> tuple[LayerShape, ...]:
    """MobileNet-V2 at width 1.0 (Sandler et al., arXiv:1801.04381)."""
    builder = _Builder()
    source = builder.convolution("conv1", image, 32, 3, stride=2)
    for stage, (expansion, channels, count, first_stride) in enumerate(_INVERTED_RESIDUALS):
        for block in range(count):
            stride = 1 if block else first_stride
            name = f"layer{stage + 1}.{block}"
            source = builder.inverted_residual(name, source, channels, stride, expansion)
    source = builder.convolution("conv2", source, 1280, 1)
    return builder.classifier(source, 1000)


@dataclass(frozen=True, slots=True)
class _Known:
    """A network by name: its layers, usual image size, and factor it shrinks an image by."""

    layers: Callable[[_Map], tuple[LayerShape, ...]]
    size: int
    total_stride: int


_KNOWN = {
    "resnet18": _Known(_resnet18, 224, 32),
    "resnet34": _Known(_resnet34, 224, 32),
    "resnet20": _Known(_resnet20, 32, 4),
    "mobilenetv2": _Known(_mobilenetv2, 224, 32),
}

NETWORK_NAMES = tuple(_KNOWN)
"""Names that `named_network` takes."""


def named_network(
    name: str, *, input_size: int | None = None, input_channels: int = 3
) -> NetworkShape:
    """The layer shapes of a network known by name.

    Parameters
    ----------
    name : str
        One of `NETWORK_NAMES`. ``resnet20`` is the CIFAR network with 10 classes; the others
        have 1,000.
    input_size : int, optional
        Height and width of the image in pixels; by default 32 for ``resnet20``, else 224.
    input_channels : int
        Channels of the image.

    Raises
    ------
    InputError
        If the name is unknown or the image too small to survive the network's strides.
    """
    known = _KNOWN.get(name)
    if known is None:
        raise InputError(f"network must be one of {', '.join(NETWORK_NAMES)}, not {name!r}")
    size = known.size if input_size is None else input_size
    if not known.total_stride <= size <= _MAX_SIZE:
        raise InputError(f"input of {name} must be {known.total_stride}..{_MAX_SIZE}, not {size}")
    if not 1 <= input_channels <= _MAX_CHANNELS:
        raise InputError(f"input channels must be 1..{_MAX_CHANNELS}, not {input_channels}")
    return NetworkShape(name=name, layers=known.layers(_Map(input_channels, size, size)))
