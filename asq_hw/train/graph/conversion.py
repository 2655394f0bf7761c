"""Turning a floating-point network into one that trains with quantization in the loop.

What each layer gets is read from the data flow, traced by `torch.fx`: the layers that no
other layer feeds, or that feed no other, keep a uniform grid of the recipe's edge width, and
a layer whose input comes out of a ReLU gets unsigned activation codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from asq_hw.errors import InputError
from asq_hw.train.graph.dataflow import reachable, read_dataflow
from asq_hw.train.graph.quantizable import weighted_nodes
from asq_hw.train.graph.signs import has_hooks, unsigned_nodes
from asq_hw.train.methods.catalog import LSQ, NONE
from asq_hw.train.methods.factory import activation_quantizer, weight_quantizer
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.weights import WeightQuantizer
from asq_hw.train.recipes import Recipe
from asq_hw.train.recipes.layer_rules import layer_bits

__all__ = ["LayerRole", "layer_roles", "quantize"]


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
        If a layer is used twice: its two inputs would share one step. If anything else has
        weights that would stay in floating point, or the network cannot be traced.
    """
    graph, modules = read_dataflow(model)
    layers = weighted_nodes(graph, modules)
    names = [str(node.target) for node in layers]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"layer {name} must be used once, not {names.count(name)} times")
    scores = [node for node in graph.nodes if node.op == "output"]
    live = reachable(scores, forward=False)
    fed = reachable(layers, forward=True)
    feeding = reachable([node for node in layers if node in live], forward=False)
    unsigned = unsigned_nodes(graph, modules)
    return {
        str(node.target): LayerRole(
            is_edge=node not in fed or node not in feeding,
            signed_input=has_hooks(modules[str(node.target)])
            or not all(source in unsigned for source in node.all_input_nodes),
        )
        for node in layers
    }


def quantize(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Replace every convolution and linear layer, in place, as the recipe says.

    A new layer keeps its predecessor's parameters, hooks, device, type and mode. If the network is
    refused, nothing of it has changed.

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

    Examples
    --------
    >>> from asq_hw.train import models, recipes
    >>> model = models.build("digits", width=8, in_channels=1, num_classes=10)
    >>> model = quantize(model, recipes.load("digits-asq-post-w4a4"))
    >>> {type(layer).__name__ for layer in model.modules()} >= {"QuantConv2d", "QuantLinear"}
    True
    """
    if not recipe.is_quantized:
        return model
    roles = layer_roles(model)
    _check_rules(roles, recipe)
    twins: dict[nn.Module, nn.Module] = {}
    for name, role in roles.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        twins[layer] = _twin(layer, name, role, recipe)
    # Only now, where nothing can be refused any more, and under every name a layer has.
    for parent in list(model.modules()):
        for child, module in parent._modules.items():
            if module in twins:
                parent._modules[child] = twins[module]
    return model


def _twin(layer: nn.Conv2d | nn.Linear, name: str, role: LayerRole, recipe: Recipe) -> nn.Module:
    """Make the quantized layer that takes the place of another."""
    weight_bits, activation_bits = layer_bits(
        recipe.layers,
        name,
        weight_bits=recipe.edge_bits if role.is_edge else recipe.weight_bits,
        activation_bits=recipe.edge_bits if role.is_edge else recipe.activation_bits,
    )
    weights = _weight_quantizer(layer, role, recipe, weight_bits)
    activations = _activation_quantizer(layer, role, recipe, activation_bits)
    if isinstance(layer, nn.Conv2d):
        return QuantConv2d.from_float(
            layer, activation_quantizer=activations, weight_quantizer=weights
        )
    return QuantLinear.from_float(layer, activation_quantizer=activations, weight_quantizer=weights)


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
    edge = role.is_edge and recipe.weights != NONE
    settings = WeightSettings(
        bits=bits,
        encoding=recipe.encoding,
        per_channel=edge or recipe.per_channel,
        step_start=recipe.step_start,
    )
    return weight_quantizer(LSQ if edge else recipe.weights, layer.weight, settings)


def _activation_quantizer(
    layer: nn.Conv2d | nn.Linear, role: LayerRole, recipe: Recipe, bits: int
) -> BaseActivationQuantizer | None:
    edge = role.is_edge and recipe.activations != NONE
    settings = ActivationSettings(
        channels=_input_channels(layer),
        bits=bits,
        signed=role.signed_input,
        step_start=recipe.step_start,
        adapter=recipe.adapters,
    )
    return activation_quantizer(LSQ if edge else recipe.activations, settings)


def _input_channels(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
