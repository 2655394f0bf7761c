"""Turning a floating-point network into one that trains with quantization in the loop.

What each layer gets is read from the data flow, traced by `torch.fx`: the layers that no
other layer feeds, or that feed no other, keep a uniform grid of the recipe's edge width, and
a layer whose input comes out of a ReLU gets unsigned activation codes.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.grids import Encoding, Grid, Scheme
from asq_hw.train.adapter import Adapter
from asq_hw.train.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers import ActivationQuantizer, WeightQuantizer, make_weight_quantizer
from asq_hw.train.recipes import ActivationMethod, Recipe, WeightMethod

__all__ = ["LayerRole", "layer_roles", "quantize"]

_SCHEMES = {
    WeightMethod.LSQ: Scheme.UNIFORM,
    WeightMethod.POT: Scheme.POT,
    WeightMethod.POST: Scheme.POST,
    WeightMethod.APOT: Scheme.APOT,
}
_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_SIGN_KEEPERS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Dropout,
    nn.Identity,
)
_RECTIFYING_FUNCTIONS = {torch.relu, functional.relu, functional.relu6, "relu"}
_ADDITIONS = {operator.add, operator.iadd, torch.add, "add"}
_SIGN_KEEPING_FUNCTIONS = {
    *_ADDITIONS,
    torch.flatten,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    "flatten",
    "mean",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRole:
    """Where a convolution or linear layer stands in the data flow.

    Parameters
    ----------
    is_edge : bool
        Whether no other such layer comes before it, or none after.
    signed_input : bool
        Whether its input can be negative.
    """

    is_edge: bool
    signed_input: bool


def layer_roles(model: nn.Module) -> dict[str, LayerRole]:
    """Find every convolution and linear layer of a network, and what role it plays.

    Raises
    ------
    InputError
        If a layer is used twice: its two inputs would share one step.
    """
    traced = fx.symbolic_trace(model)
    modules = dict(traced.named_modules())
    layers = [node for node in traced.graph.nodes if _is_layer(node, modules)]
    names = [str(node.target) for node in layers]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"layer {name} must be used once, not {names.count(name)} times")
    fed = _reachable(layers, forward=True)
    feeding = _reachable(layers, forward=False)
    unsigned = _unsigned_nodes(traced.graph, modules)
    return {
        str(node.target): LayerRole(
            is_edge=node not in fed or node not in feeding,
            signed_input=not all(source in unsigned for source in node.all_input_nodes),
        )
        for node in layers
    }


def quantize(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Replace every convolution and linear layer, in place, as the recipe says.

    The first and the last layer get uniform weights, one step for each output channel, and
    plain LSQ activations, both of ``edge_bits``. Weights are taken over, and every scale
    starts from them; activation steps start from the first training batch.

    Parameters
    ----------
    model : nn.Module
        A floating-point network that `torch.fx` can trace.
    recipe : Recipe
        Methods and widths. A recipe that quantizes nothing leaves the network as it is.

    Returns
    -------
    nn.Module
        The same network.
    """
    if not recipe.is_quantized:
        return model
    for name, role in layer_roles(model).items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        weights = _weight_quantizer(layer, role, recipe)
        activations = _activation_quantizer(layer, role, recipe)
        twin: nn.Module
        if isinstance(layer, nn.Conv2d):
            twin = QuantConv2d.from_float(
                layer, activation_quantizer=activations, weight_quantizer=weights
            )
        else:
            twin = QuantLinear.from_float(
                layer, activation_quantizer=activations, weight_quantizer=weights
            )
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, twin)
    return model


def _weight_quantizer(
    layer: nn.Conv2d | nn.Linear, role: LayerRole, recipe: Recipe
) -> WeightQuantizer | None:
    if recipe.weights is WeightMethod.NONE:
        return None
    if role.is_edge:
        grid = Grid(scheme=Scheme.UNIFORM, bits=recipe.edge_bits)
        return make_weight_quantizer(grid, layer.weight, per_channel=True)
    scheme = _SCHEMES[recipe.weights]
    exponential = scheme in (Scheme.POT, Scheme.POST)
    encoding = recipe.encoding if exponential else Encoding.PACKED
    grid = Grid(scheme=scheme, bits=recipe.weight_bits, encoding=encoding)
    return make_weight_quantizer(grid, layer.weight, per_channel=recipe.per_channel)


def _activation_quantizer(
    layer: nn.Conv2d | nn.Linear, role: LayerRole, recipe: Recipe
) -> ActivationQuantizer | None:
    if recipe.activations is ActivationMethod.NONE:
        return None
    adapted = recipe.activations is ActivationMethod.ASQ and not role.is_edge
    return ActivationQuantizer(
        bits=recipe.edge_bits if role.is_edge else recipe.activation_bits,
        signed=role.signed_input,
        adapter=Adapter(_input_channels(layer)) if adapted else None,
    )


def _input_channels(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features


def _is_layer(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op != "call_module":
        return False
    return isinstance(modules[str(node.target)], nn.Conv2d | nn.Linear)


def _reachable(starts: list[fx.Node], *, forward: bool) -> set[fx.Node]:
    """Every node that lies behind any of the starts, or before; a start only if one leads to it."""
    reached: set[fx.Node] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        for neighbour in node.users if forward else node.all_input_nodes:
            if neighbour not in reached:
                reached.add(neighbour)
                pending.append(neighbour)
    return reached


def _unsigned_nodes(graph: fx.Graph, modules: dict[str, nn.Module]) -> set[fx.Node]:
    """Every node whose result is never negative: a ReLU's, or made of such without a minus."""
    unsigned: set[fx.Node] = set()
    for node in graph.nodes:
        module = modules[str(node.target)] if node.op == "call_module" else None
        function = node.target if node.op in ("call_function", "call_method") else None
        rectifies = isinstance(module, _RECTIFIERS) or function in _RECTIFYING_FUNCTIONS
        keeps = isinstance(module, _SIGN_KEEPERS) or function in _SIGN_KEEPING_FUNCTIONS
        sources = node.all_input_nodes
        if rectifies or (keeps and sources and all(source in unsigned for source in sources)):
            unsigned.add(node)
    return unsigned
