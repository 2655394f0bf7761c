"""Turning a floating-point network into one that trains with quantization in the loop.

What each layer gets is read from the data flow, traced by `torch.fx`: the layers that no
other layer feeds, or that feed no other, keep a uniform grid of the recipe's edge width, and
a layer whose input comes out of a ReLU gets unsigned activation codes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.train.layers import QuantConv2d, QuantLinear
from asq_hw.train.methods.factory import activation_quantizer, weight_quantizer
from asq_hw.train.quantizers import BaseActivationQuantizer, WeightQuantizer
from asq_hw.train.recipes import ActivationMethod, Recipe, WeightMethod
from asq_hw.train.recipes.layer_rules import layer_bits

__all__ = ["LayerRole", "layer_roles", "quantize"]

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
    roles = layer_roles(model)
    _check_rules(roles, recipe)
    for name, role in roles.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        weight_bits, activation_bits = layer_bits(
            recipe.layers,
            name,
            weight_bits=recipe.edge_bits if role.is_edge else recipe.weight_bits,
            activation_bits=recipe.edge_bits if role.is_edge else recipe.activation_bits,
        )
        weights = _weight_quantizer(layer, role, recipe, weight_bits)
        activations = _activation_quantizer(layer, role, recipe, activation_bits)
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


def _check_rules(names: Iterable[str], recipe: Recipe) -> None:
    """Make sure that every rule for single layers holds for at least one."""
    for rule in recipe.layers:
        if not any(rule.matches(name) for name in names):
            raise InputError(
                f"recipe key layers.{rule.pattern!r} must name a layer of {recipe.model}: "
                f"{', '.join(names)}"
            )


def _weight_quantizer(
    layer: nn.Conv2d | nn.Linear, role: LayerRole, recipe: Recipe, bits: int
) -> WeightQuantizer | None:
    edge = role.is_edge and recipe.weights is not WeightMethod.NONE
    return weight_quantizer(
        WeightMethod.LSQ if edge else recipe.weights,
        layer.weight,
        bits=bits,
        encoding=recipe.encoding,
        per_channel=edge or recipe.per_channel,
    )


def _activation_quantizer(
    layer: nn.Conv2d | nn.Linear, role: LayerRole, recipe: Recipe, bits: int
) -> BaseActivationQuantizer | None:
    edge = role.is_edge and recipe.activations is not ActivationMethod.NONE
    return activation_quantizer(
        ActivationMethod.LSQ if edge else recipe.activations,
        channels=_input_channels(layer),
        bits=bits,
        signed=role.signed_input,
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
