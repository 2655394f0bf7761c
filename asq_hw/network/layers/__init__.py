"""The layers of an integer network: plain, checked, immutable data, one kind a module.

What each one computes, to the bit, is written in docs/arithmetic.md, sections 5 and 6. A new kind
is a module here and a member of `Layer`; type checkers then name every reader of layers that has
to learn it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

from asq_hw.network.layers.add import Add
from asq_hw.network.layers.average_pool import AveragePool
from asq_hw.network.layers.concat import Concat
from asq_hw.network.layers.conv import Conv
from asq_hw.network.layers.flatten import Flatten
from asq_hw.network.layers.global_average_pool import GlobalAveragePool
from asq_hw.network.layers.input import Input
from asq_hw.network.layers.kind import LayerKind
from asq_hw.network.layers.linear import Linear
from asq_hw.network.layers.lookup import Lookup
from asq_hw.network.layers.max_pool import MaxPool
from asq_hw.network.layers.multiply import Multiply
from asq_hw.network.layers.pad import Pad
from asq_hw.network.layers.relu import Relu
from asq_hw.network.layers.select import Select

__all__ = [
    "LAYER_KINDS",
    "Add",
    "AveragePool",
    "Concat",
    "Conv",
    "Flatten",
    "GlobalAveragePool",
    "Input",
    "Layer",
    "LayerKind",
    "Linear",
    "Lookup",
    "MaxPool",
    "Multiply",
    "Pad",
    "Relu",
    "Select",
]

Layer = (
    Input
    | Conv
    | Linear
    | Add
    | Multiply
    | Concat
    | Pad
    | Select
    | Relu
    | Lookup
    | Flatten
    | MaxPool
    | AveragePool
    | GlobalAveragePool
)

LAYER_KINDS: Mapping[str, type[Layer]] = MappingProxyType(
    {layer.kind: layer for layer in get_args(Layer)}
)
"""Every kind by its name in a model file."""
