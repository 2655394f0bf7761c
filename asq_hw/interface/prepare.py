"""prepare: a network of anyone's as one that computes with quantized weights and activations."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from asq_hw.errors import InputError
from asq_hw.interface.prepared import Prepared, attach
from asq_hw.numbers.encoding import Encoding
from asq_hw.train.checkpoints.soundness import check_network
from asq_hw.train.graph.canonical.capture import evaluated_copy
from asq_hw.train.graph.canonical.rewrite import rewrite
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.graph.dataflow import QuantTracer
from asq_hw.train.graph.operations import trace
from asq_hw.train.methods.adapting import AdapterKind, StepStart
from asq_hw.train.methods.catalog import LSQ
from asq_hw.train.recipes.layer_rules import rules_from_plain
from asq_hw.train.recipes.quantization import Quantization
from asq_hw.train.recipes.values import check_width
from asq_hw.train.refinement.correction import add_biases

__all__ = ["floating_copy", "prepare"]


def prepare(
    model: nn.Module,
    example: Tensor | None = None,
    *,
    weights: str = LSQ,
    activations: str = LSQ,
    bits: int = 8,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    edge_bits: int = 8,
    per_channel: bool = True,
    encoding: str = Encoding.PACKED,
    adapter: str = AdapterKind.PAPER,
    layers: Mapping[str, Mapping[str, object]] | None = None,
) -> fx.GraphModule:
    """Make a quantized copy of a network, to be calibrated, trained and exported.

    Parameters
    ----------
    model : nn.Module
        Any network of images; nothing of it changes. It is read as in evaluation mode.
    example : float tensor of shape (N, C, H, W), or (N, C), optional
        Images or vectors as the network takes them. With it the network may be written in any way
        that `asq_hw.check` takes; without, it is taken as it stands, and must consist of torch's
        own Conv2d, Linear, BatchNorm2d, activations, pooling, sums and products.
    weights, activations : str
        Methods (``asq-hw train --help`` lists them) of all layers but the first and the last,
        which are uniform.
    bits : int
        Width of their codes, 2 to 8.
    weight_bits, activation_bits : int, optional
        Where the two differ.
    edge_bits : int
        Width in the first and the last layer.
    per_channel : bool
        Whether each output channel has a scale of its own.
    encoding : {'packed', 'paper', 'zero-free'}
        Which levels POT and POST keep.
    adapter : {'paper', 'log-linear'}
        What ASQ's factor on the step is a function of.
    layers : mapping of str to mapping, optional
        What holds for single layers, the first and the last included, by name or by a pattern with
        ``*``, ``?`` and ``[...]``: ``weights``, ``activations``, ``bits``, ``weight_bits`` and
        ``activation_bits``. Of several that match a name, the last holds.

    Returns
    -------
    torch.fx.GraphModule
        A plain module with a plain state dict, in evaluation mode. It computes once
        `asq_hw.calibrate` has seen images, or a first batch in training mode, and returns tuples,
        lists and dicts where `model` does. Layers that have
        neither a bias nor batch norm get a bias of zero.

    Raises
    ------
    InputError
        If the network is refused (`asq_hw.check` tells all reasons at once), a method or a width
        is none, or a pattern matches no layer.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    >>> quantized = prepare(model, torch.rand(2, 3, 8, 8), bits=4, layers={"3": {"bits": 6}})
    >>> quantized.get_submodule("3").weight_quantizer.grid.bits
    6
    """
    how = _quantization(
        weights=weights,
        activations=activations,
        bits=bits,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        edge_bits=edge_bits,
        per_channel=per_channel,
        encoding=encoding,
        adapter=adapter,
        layers=layers,
    )
    floating = floating_copy(model, example)
    with torch.random.fork_rng(devices=[]):  # adapters draw their first weights
        network = quantize(floating, how).eval()
    assert isinstance(network, fx.GraphModule)
    if example is None:
        _check_operations(network)
    add_biases(network)
    facts = Prepared(
        name=type(model).__name__,
        how=how,
        shape=None if example is None else tuple(example.shape[1:]),
        example=None if example is None else example.detach().clone(),
    )
    attach(network, facts)
    return network


def _quantization(
    *,
    weights: str,
    activations: str,
    bits: int,
    weight_bits: int | None,
    activation_bits: int | None,
    edge_bits: int,
    per_channel: bool,
    encoding: str,
    adapter: str,
    layers: Mapping[str, Mapping[str, object]] | None,
) -> Quantization:
    """Methods and widths, checked; parameters are those of `prepare`."""
    check_width("bits", bits)
    how = Quantization(
        weights=weights,
        activations=activations,
        edge_bits=edge_bits,
        per_channel=per_channel,
        encoding=encoding,  # type: ignore[arg-type]  # read as a member
        adapter=adapter,  # type: ignore[arg-type]
        step_start=StepStart.LEAST_SQUARES,
        weight_bits=bits if weight_bits is None else weight_bits,
        activation_bits=bits if activation_bits is None else activation_bits,
        layers=rules_from_plain({} if layers is None else layers),
    )
    if missing := how.without_integers:
        raise InputError(f"{' and '.join(missing)} have no integer form; choose other methods")
    return how


def floating_copy(model: nn.Module, example: Tensor | None) -> nn.Module:
    """A copy of a network that is to be quantized, rewritten where there is an example.

    Raises
    ------
    InputError
        If it is refused, or has no parameters, or one of its tensors is not finite.
    """
    floating = _as_it_stands(model) if example is None else _rewritten(model, example)
    check_network(floating)
    return floating


def _rewritten(model: nn.Module, example: Tensor) -> nn.Module:
    rewriting = rewrite(model, example)
    if rewriting.network is None:
        first, *others = rewriting.refused
        more = f" (and {len(others)} more; asq_hw.check tells all)" if others else ""
        raise InputError(f"{type(model).__name__} cannot be quantized: {first}{more}")
    return rewriting.network


def _as_it_stands(model: nn.Module) -> fx.GraphModule:
    original = evaluated_copy(model)
    try:
        graph = QuantTracer().trace(original)
    except Exception as error:  # the network's own code ran, and can raise anything
        raise InputError(_needs_example(model, str(error).partition("\n")[0])) from error
    return fx.GraphModule(copy.copy(original), graph, type(model).__name__)


def _check_operations(network: fx.GraphModule) -> None:
    """Refuse a network that was taken as it stands and could not be exported."""
    try:
        trace(network)
    except InputError as error:
        raise InputError(_needs_example(network, str(error))) from None


def _needs_example(model: nn.Module, reason: str) -> str:
    return (
        f"{type(model).__name__} cannot be quantized as it stands: {reason}; give an example, "
        "a batch of images, with which it is rewritten"
    )
