"""Layers that are computed with the layer before them."""

from __future__ import annotations

from collections import Counter

from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, Conv, Linear, Relu

__all__ = ["fused_relus"]


def fused_relus(network: IntegerNetwork) -> dict[str, Relu]:
    """ReLUs by the layer that computes them with its own map, which nothing else reads.

    What the network gives out is read, too.
    """
    readers = Counter(source for layer in network.layers for source in layer.source_names)
    readers.update(output.layer for output in network.outputs)
    makers = {
        layer.name: layer for layer in network.layers if isinstance(layer, Add | Conv | Linear)
    }
    return {
        layer.source: layer
        for layer in network.layers
        if isinstance(layer, Relu) and layer.source in makers and readers[layer.source] == 1
    }
