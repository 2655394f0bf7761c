"""Layer shapes of the networks known by name, from their plans.

Every convolution but the first is quantized and has what gives its input a step; the first
convolution and the classifier stay at 8 bit, as in the paper's experiments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from itertools import chain
from typing import assert_never

from analysis.cost.shapes import LayerKind, LayerShape, NetworkShape
from asq_hw.errors import InputError
from asq_hw.network.activation import ADAPTER_RATIO, adapter_hidden_width
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.network.topologies.layers import Block, Convolution, MaxPool, Plan

__all__ = ["AdapterPer", "Steps", "named_network"]

_MAX_SIZE = 1 << 14
_MAX_CHANNELS = 1 << 10


class Steps(StrEnum):
    """What gives the activation steps of the quantized layers."""

    PAPER = "paper"
    """The paper's adapters."""
    LOG_LINEAR = "log-linear"
    """Log-linear adapters: a weight for each channel, and an offset."""
    SHARED_EXPONENT = "shared-exponent"
    """The largest value of each sample."""
    FIXED = "fixed"
    """Constants."""


class AdapterPer(StrEnum):
    """What has an adapter of its own."""

    LAYER = "layer"
    """Each layer, as in the paper."""
    BLOCK = "block"
    """Each block: its first layer computes the step, and the others take it, times a constant."""


def named_network(
    name: str,
    *,
    width: int | None = None,
    num_classes: int | None = None,
    input_size: int | None = None,
    input_channels: int | None = None,
    steps: Steps = Steps.PAPER,
    adapter_ratio: int = ADAPTER_RATIO,
    adapter_per: AdapterPer = AdapterPer.LAYER,
) -> NetworkShape:
    """The layer shapes of a network known by name.

    Parameters
    ----------
    name : str
        One of `asq_hw.network.topologies.TOPOLOGIES`.
    width, num_classes : int, optional
        Channels of the network's first stage, and its classes; by default as published.
    input_size, input_channels : int, optional
        Height and width of the image in pixels, and its channels; by default as published.
    steps : Steps
        What gives the activation steps of the quantized layers.
    adapter_ratio : int
        Channels for each hidden value of the paper's adapters.
    adapter_per : AdapterPer
        Whether the layers of a block share one adapter.

    Raises
    ------
    InputError
        If the name is unknown or the image too small to survive the network's strides.
    """
    if name not in TOPOLOGIES:
        raise InputError(f"network must be one of {', '.join(TOPOLOGIES)}, not {name!r}")
    topology = TOPOLOGIES[name]
    size = topology.image_size if input_size is None else input_size
    channels = topology.in_channels if input_channels is None else input_channels
    plan = topology.plan(width=width, in_channels=channels, num_classes=num_classes)
    if not plan.stride <= size <= _MAX_SIZE:
        raise InputError(f"input of {name} must be {plan.stride}..{_MAX_SIZE}, not {size}")
    if not 1 <= channels <= _MAX_CHANNELS:
        raise InputError(f"input channels must be 1..{_MAX_CHANNELS}, not {channels}")
    first, *others = _convolutions(plan, size, adapter_per)
    if not 1 <= adapter_ratio <= _MAX_CHANNELS:
        raise InputError(f"adapter-ratio must be 1..{_MAX_CHANNELS}, not {adapter_ratio}")
    if steps is not Steps.PAPER and adapter_ratio != ADAPTER_RATIO:
        raise InputError(
            f"adapter-ratio is of the paper's adapters: with steps {steps} it cannot be "
            f"{adapter_ratio}"
        )
    if steps not in (Steps.PAPER, Steps.LOG_LINEAR) and adapter_per is not AdapterPer.LAYER:
        raise InputError(f"adapter-per is of adapters: with steps {steps} it cannot be block")
    quantized = (
        replace(_with_steps(layer, steps, adapter_ratio), quantized=True) for layer in others
    )
    return NetworkShape(name=name, layers=(first, *quantized, _classifier(plan)))


def _with_steps(layer: LayerShape, steps: Steps, ratio: int) -> LayerShape:
    if layer.shares_adapter:
        return layer
    match steps:
        case Steps.PAPER:
            hidden = adapter_hidden_width(layer.in_channels, ratio)
            return replace(layer, adapter_hidden=hidden)
        case Steps.LOG_LINEAR:
            return replace(layer, adapter_hidden=0)
        case Steps.SHARED_EXPONENT:
            return replace(layer, shares_exponent=True)
        case Steps.FIXED:
            return layer
        case _:
            assert_never(steps)


def _convolutions(plan: Plan, size: int, per: AdapterPer) -> Iterator[LayerShape]:
    """The convolutions, on an image of that height and width, as if none were quantized.

    Where there is one adapter for a block, all of its layers but the first share it.
    """
    for step in plan.steps:
        if isinstance(step, MaxPool):
            size = (size + 2 * step.padding - step.kernel_size) // step.stride + 1
            continue
        branches = step.branches if isinstance(step, Block) else ((step,),)
        chains = [list(_chain(branch, size)) for branch in branches]
        layers = list(chain.from_iterable(chains))
        shares = isinstance(step, Block) and per is AdapterPer.BLOCK
        yield layers[0]
        yield from (replace(layer, shares_adapter=shares) for layer in layers[1:])
        size = chains[0][-1].out_height


def _chain(layers: Iterable[Convolution], size: int) -> Iterator[LayerShape]:
    """Convolutions of which each reads what the one before has made."""
    for layer in layers:
        shape = LayerShape(
            name=layer.name,
            in_channels=layer.in_channels,
            out_channels=layer.out_channels,
            kernel_size=(layer.kernel_size, layer.kernel_size),
            stride=(layer.stride, layer.stride),
            padding=(layer.padding, layer.padding),
            groups=layer.groups,
            in_height=size,
            in_width=size,
            quantized=False,
        )
        yield shape
        size = shape.out_height


def _classifier(plan: Plan) -> LayerShape:
    """The 8-bit linear layer behind global average pooling."""
    return LayerShape(
        name="classifier",
        kind=LayerKind.LINEAR,
        in_channels=plan.classifier.in_channels,
        out_channels=plan.classifier.num_classes,
        quantized=False,
    )
