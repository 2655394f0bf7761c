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
from asq_hw.train.methods.factory import activation_quantizer, weight_quantizer
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.shared_adapter import SharedAdapter
from asq_hw.train.recipes.quantization import LayerSettings, Quantization

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


def quantize(model: nn.Module, how: Quantization) -> nn.Module:
    """Replace every convolution and linear layer, in place, as a recipe says.

    A new layer keeps its predecessor's parameters, hooks, device, type and mode. If the network is
    refused, nothing of it has changed.

    The first and the last layer get uniform weights, one step for each output channel, and
    plain LSQ activations, both of ``edge_bits``, where no rule for single layers says otherwise.
    Weights are taken over, and every scale starts from them; activation steps start from the first
    training batch.

    Parameters
    ----------
    model : nn.Module
        A floating-point network that `torch.fx` can trace.
    how : Quantization
        Methods and widths, such as a recipe's. If it quantizes nothing, the network stays as it is.

    Returns
    -------
    nn.Module
        The same network.

    Raises
    ------
    InputError
        As `layer_roles`; if a rule names no layer, or a method does not go with a layer's width.

    Examples
    --------
    >>> from asq_hw.train import models, recipes
    >>> model = models.build("digits", width=8, in_channels=1, num_classes=10)
    >>> model = quantize(model, recipes.load("digits-asq-post-w4a4"))
    >>> {type(layer).__name__ for layer in model.modules()} >= {"QuantConv2d", "QuantLinear"}
    True
    """
    if not how.is_quantized:
        return model
    roles = layer_roles(model)
    _check_rules(roles, how)
    twins: dict[nn.Module, nn.Module] = {}
    shared = _Blocks(how)
    for name, role in roles.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        try:
            twins[layer] = _twin(layer, how.of_layer(name, is_edge=role.is_edge), role, how)
        except InputError as error:
            raise InputError(f"layer {name}: {error}") from None
        shared.add(name, twins[layer])
    shared.check()
    # Only now, where nothing can be refused any more, and under every name a layer has.
    for parent in list(model.modules()):
        for child, module in parent._modules.items():
            if module in twins:
                parent._modules[child] = twins[module]
    return model


class _Blocks:
    """Blocks of layers, each with the adapter of its first."""

    def __init__(self, how: Quantization) -> None:
        self._how = how
        self._first: dict[str, Adapter] = {}
        self._is_shared = False

    def add(self, name: str, layer: nn.Module) -> None:
        """Let a layer take the adapter of its block, if that has one."""
        block, quantizer = self._how.block_of(name), layer.activation_quantizer
        if block is None or not isinstance(quantizer, BaseActivationQuantizer):
            return
        if quantizer.adapter is None:
            return
        if block in self._first:
            quantizer.adapter = SharedAdapter(self._first[block])
            self._is_shared = True
        else:
            self._first[block] = quantizer.adapter

    def check(self) -> None:
        """Make sure that the pattern of blocks, if there is one, joins some layers."""
        if self._how.adapter_block and not self._is_shared:
            raise InputError(
                f"{self._how.SUBJECT}adapter_block must match the beginning of the names of "
                f"several layers with adapters, not {self._how.adapter_block!r}"
            )


def _check_rules(names: Iterable[str], how: Quantization) -> None:
    """Make sure that every rule for single layers holds for at least one."""
    for rule in how.layers:
        if not any(rule.matches(name) for name in names):
            raise InputError(
                f"{how.SUBJECT}layers.{rule.pattern!r} must name a layer of the network: "
                f"{', '.join(names)}"
            )


def _twin(
    layer: nn.Conv2d | nn.Linear, settings: LayerSettings, role: LayerRole, how: Quantization
) -> nn.Module:
    """Make the quantized layer that takes the place of another."""
    weights = weight_quantizer(
        settings.weights,
        layer.weight,
        WeightSettings(
            bits=settings.weight_bits,
            encoding=how.encoding,
            per_channel=settings.per_channel,
            step_start=how.step_start,
        ),
    )
    activations = activation_quantizer(
        settings.activations,
        ActivationSettings(
            channels=layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features,
            bits=settings.activation_bits,
            signed=role.signed_input,
            step_start=how.step_start,
            adapter=how.adapters,
        ),
    )
    if isinstance(layer, nn.Conv2d):
        return QuantConv2d.from_float(
            layer,
            activation_quantizer=activations,
            weight_quantizer=weights,
            product=how.product,
        )
    return QuantLinear.from_float(
        layer, activation_quantizer=activations, weight_quantizer=weights, product=how.product
    )
