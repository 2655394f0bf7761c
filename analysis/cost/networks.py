"""Find a network to count: one known by name, or a model file."""

from __future__ import annotations

import os
from pathlib import Path

from analysis.cost.shapes import LayerKind, LayerShape, NetworkShape
from analysis.cost.topologies import AdapterPer, Steps, named_network
from asq_hw.errors import InputError
from asq_hw.network.activation import ADAPTER_RATIO, AdaptiveStep
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.network.topologies import TOPOLOGIES

__all__ = ["find_network", "integer_network_shape"]


def find_network(
    name_or_path: str | Path,
    *,
    input_size: int | None = None,
    steps: Steps = Steps.PAPER,
    adapter_ratio: int = ADAPTER_RATIO,
    adapter_per: AdapterPer = AdapterPer.LAYER,
) -> NetworkShape:
    """The layer shapes of a network known by name or of a model file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `asq_hw.network.topologies.TOPOLOGIES`, or the path of a model file.
    input_size : int, optional
        Height and width of the image in pixels; a model file has its own.
    steps : Steps
        What gives the activation steps of a network known by name.
    adapter_ratio : int
        Channels for each hidden value of its adapters.
    adapter_per : AdapterPer
        Whether the layers of a block share one.

    Raises
    ------
    InputError
        If it is neither, if the file cannot be read, or an input size or other steps than it has
        are given for a file.

    Examples
    --------
    >>> network = find_network("resnet18")
    >>> network.layers[0].kernel_size, network.layers[-1].out_channels
    ((7, 7), 1000)
    """
    name = str(name_or_path)
    if name in TOPOLOGIES:
        return named_network(
            name,
            input_size=input_size,
            steps=steps,
            adapter_ratio=adapter_ratio,
            adapter_per=adapter_per,
        )
    # Unlike Path.exists, this takes any text: empty, too long, with a null character.
    if not os.path.exists(name):
        known = ", ".join(TOPOLOGIES)
        raise InputError(f"network must be one of {known} or a model file, not {name[:80]!r}")
    if input_size is not None:
        raise InputError(f"input is fixed by the model file {name!r}, so it cannot be {input_size}")
    if (steps, adapter_ratio, adapter_per) != (Steps.PAPER, ADAPTER_RATIO, AdapterPer.LAYER):
        raise InputError(f"the model file {name!r} has its own steps, so none can be chosen for it")
    from asq_hw import modelfile  # numpy, which a named network does not need

    return integer_network_shape(modelfile.load(Path(name)))


def integer_network_shape(network: IntegerNetwork) -> NetworkShape:
    """The layer shapes of an integer network.

    Layers with an adaptive (ASQ) or a log-linear step have an adapter and all others have none; a
    log-linear step counts as one linear layer, its offset as the bias; a layer that takes the
    adapter of its block has one multiplier for it. The first and
    the last layer with weights are unquantized, as in the paper, unless they have an adapter.
    """
    maps = network.feature_maps()
    weighted = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
    ends = {weighted[0].name, weighted[-1].name} if weighted else set()
    return NetworkShape(
        name=network.name,
        layers=tuple(
            _layer_shape(layer, maps[layer.source], is_end=layer.name in ends) for layer in weighted
        ),
    )


def _layer_shape(layer: Conv | Linear, source: FeatureMap, *, is_end: bool) -> LayerShape:
    channels, height, width = source.shape
    step = layer.quantizer.step
    adapter_hidden: int | None = None
    if isinstance(step, AdaptiveStep):
        adapter_hidden = step.stages[0].weight.shape[0] if len(step.stages) == 2 else 0
    if isinstance(step, LogLinearStep):
        adapter_hidden = 0
    shares_adapter = isinstance(step, SharedAdapterStep)
    is_convolution = isinstance(layer, Conv)
    return LayerShape(
        name=layer.name,
        kind=LayerKind.CONVOLUTION if is_convolution else LayerKind.LINEAR,
        in_channels=channels,
        out_channels=layer.out_channels,
        kernel_size=layer.kernel_size if isinstance(layer, Conv) else (1, 1),
        stride=layer.stride if isinstance(layer, Conv) else (1, 1),
        padding=layer.padding if isinstance(layer, Conv) else (0, 0),
        dilation=layer.dilation if isinstance(layer, Conv) else (1, 1),
        groups=layer.groups if isinstance(layer, Conv) else 1,
        in_height=height,
        in_width=width,
        quantized=not is_end or adapter_hidden is not None or shares_adapter,
        adapter_hidden=adapter_hidden,
        shares_adapter=shares_adapter,
        shares_exponent=isinstance(step, SharedExponentStep),
        feature_bits=source.format.bits,
        weight_grid=layer.weight_grid,
        activation_bits=layer.quantizer.grid.bits,
    )
