"""What quantization does inside a trained network, layer by layer and sample by sample.

Everything here runs the network on real images and returns NumPy arrays, for tables and figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.train.evaluation import predict
from asq_hw.train.export.forward import in_floating_point, ranges_of
from asq_hw.train.models.resnet import BasicBlock
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.weights import IntegerWeightQuantizer

__all__ = [
    "ActivationSample",
    "LayerErrors",
    "WeightSample",
    "activation_samples",
    "block_outputs",
    "constant_beta",
    "full_precision",
    "layer_errors",
    "require_real_beta",
    "weight_sample",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerErrors:
    """What one activation quantizer does to each sample.

    Parameters
    ----------
    layer : str
        The layer whose input is quantized.
    bits : int
        Width of the codes.
    step : float
        The learned step s, before beta.
    adaptive : bool
        Whether an adapter gives beta.
    beta : float64 array of shape (N,)
        Factor on the step of each sample; 1 without an adapter.
    norm : float64 array of shape (N,)
        L2 norm of the input.
    rounding, clipping : float64 arrays of shape (N,)
        L2 norm of ``quantized - input`` over the elements inside the quantizer's range, and over
        those outside.
    codes_used : int64 array of shape (N,)
        How many different codes the sample's elements take.
    """

    layer: str
    bits: int
    step: float
    adaptive: bool
    beta: Floats
    norm: Floats
    rounding: Floats
    clipping: Floats
    codes_used: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSample:
    """The input of one layer for one sample.

    Parameters
    ----------
    step : float
        The sample's step.
    values, codes : float64 and int64 arrays of shape (C * H * W,)
        The input, and the code of each element.
    """

    step: float
    values: Floats
    codes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSample:
    """The weights of one layer.

    Parameters
    ----------
    values, quantized : float64 arrays of shape (weights,)
        The weights, and what acts in their place.
    levels : float64 array of shape (levels,)
        What a quantized weight can be, ascending.
    """

    values: Floats
    quantized: Floats
    levels: Floats


def layer_errors(model: nn.Module, dataset: Dataset) -> list[LayerErrors]:
    """Measure every activation quantizer of a network, in the order in which they act.

    Raises
    ------
    InputError
        If the network has none.
    """
    quantizers = dict(_quantizers(model))
    seen: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[[ActivationQuantizer, tuple[Tensor], Tensor], None]:
        def hook(quantizer: ActivationQuantizer, inputs: tuple[Tensor], output: Tensor) -> None:
            measured = _measure(quantizer, inputs[0], output)
            seen.setdefault(name, []).append(measured)

        return hook

    with _hooks([q.register_forward_hook(watch(name)) for name, q in quantizers.items()]):
        _predict(model, dataset)
    return [
        _layer_errors(name, quantizers[name], torch.cat(parts, 1)) for name, parts in seen.items()
    ]


def _measure(quantizer: ActivationQuantizer, x: Tensor, quantized: Tensor) -> Tensor:
    """Beta, norm, rounding, clipping and codes in use: ``(5, N)``."""
    beta = _beta(quantizer, x)
    step = (beta * quantizer.step()).reshape(-1, 1)
    flat, error = x.flatten(1), (quantized - x).flatten(1).double()
    ratio = flat / step
    inside = (ratio >= quantizer.grid.minimum) & (ratio <= quantizer.grid.maximum)
    codes = torch.round(quantized.flatten(1) / step).sort(dim=1).values
    used = 1 + (codes.diff(dim=1) > 0).sum(dim=1)
    rounding, clipping = (error * inside).norm(dim=1), (error * ~inside).norm(dim=1)
    return torch.stack(
        [beta.double(), flat.double().norm(dim=1), rounding, clipping, used.double()]
    )


def _layer_errors(name: str, quantizer: ActivationQuantizer, measured: Tensor) -> LayerErrors:
    beta, norm, rounding, clipping, used = measured.numpy()
    return LayerErrors(
        layer=name,
        bits=quantizer.bits,
        step=float(quantizer.step().detach()),
        adaptive=quantizer.adapter is not None,
        beta=beta,
        norm=norm,
        rounding=rounding,
        clipping=clipping,
        codes_used=used.astype(np.int64),
    )


def activation_samples(model: nn.Module, dataset: Dataset, layer: str) -> list[ActivationSample]:
    """The input of one layer for every image of a dataset, and its codes.

    Raises
    ------
    InputError
        If there is no such layer, or its input is not quantized.
    """
    quantizers = dict(_quantizers(model))
    if layer not in quantizers:
        raise InputError(f"layer must be one of {', '.join(quantizers)}, not {layer!r}")
    samples: list[ActivationSample] = []

    def hook(quantizer: ActivationQuantizer, inputs: tuple[Tensor], output: Tensor) -> None:
        steps = _beta(quantizer, inputs[0]) * quantizer.step()
        for x, quantized, step in zip(inputs[0], output, steps, strict=True):
            codes = torch.round(quantized / step)
            samples.append(
                ActivationSample(
                    step=float(step),
                    values=x.flatten().double().numpy(),
                    codes=codes.flatten().to(torch.int64).numpy(),
                )
            )

    with _hooks([quantizers[layer].register_forward_hook(hook)]):
        _predict(model, dataset)
    return samples


@torch.inference_mode()
def weight_sample(model: nn.Module, layer: str) -> WeightSample:
    """The weights of one layer before and after quantization.

    Raises
    ------
    InputError
        If there is no such layer, or its weights are not one scale times a grid's levels.
    """
    module = dict(model.named_modules()).get(layer)
    quantizer = getattr(module, "weight_quantizer", None)
    if not isinstance(module, QuantConv2d | QuantLinear) or not isinstance(
        quantizer, IntegerWeightQuantizer
    ):
        raise InputError(f"layer {layer!r} must be one whose weights are levels of a grid")
    if quantizer.scale().numel() > 1:
        raise InputError(f"layer {layer} must have one scale, not one for each channel")
    scale = float(quantizer.scale())
    return WeightSample(
        values=module.weight.flatten().double().numpy(),
        quantized=quantizer(module.weight).flatten().double().numpy(),
        levels=scale * np.array([level.value for level in quantizer.grid.ordered_levels]),
    )


def block_outputs(model: nn.Module, dataset: Dataset) -> dict[str, NDArray[np.float32]]:
    """The output of every residual block, ``(N, C * H * W)``, in the order they act."""
    outputs: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def hook(block: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            outputs.setdefault(name, []).append(output.flatten(1))

        return hook

    blocks = {n: m for n, m in model.named_modules() if isinstance(m, BasicBlock)}
    with _hooks([block.register_forward_hook(watch(name)) for name, block in blocks.items()]):
        _predict(model, dataset)
    return {name: torch.cat(parts).numpy() for name, parts in outputs.items()}


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """Run a quantized network without its quantizers: real activations, real weights.

    Also one that computes in integers.
    """
    layers = [m for m in model.modules() if isinstance(m, QuantConv2d | QuantLinear)]
    kept = [(layer, layer.activation_quantizer, layer.weight_quantizer) for layer in layers]
    try:
        for layer in layers:
            layer.activation_quantizer = layer.weight_quantizer = None
        with in_floating_point(model):
            yield
    finally:
        for layer, activations, weights in kept:
            layer.activation_quantizer, layer.weight_quantizer = activations, weights


def require_real_beta(model: nn.Module) -> None:
    """Refuse a network that computes in integers, its adapters included, before beta is held.

    Raises
    ------
    InputError
        If it does.
    """
    if ranges_of(model) is not None:
        raise InputError(
            "beta cannot be held in a network that has trained in integers (integer_epochs): its "
            "adapters are integers too"
        )


@contextmanager
def constant_beta(model: nn.Module, beta: dict[str, float]) -> Iterator[None]:
    """Give the adapters of the named layers one answer for every sample.

    Raises
    ------
    InputError
        As `require_real_beta`.
    """
    require_real_beta(model)

    def watch(value: float) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        return lambda adapter, inputs, output: torch.full_like(output, value)

    quantizers = dict(_quantizers(model))
    adapters = {name: quantizers[name].adapter for name in beta}
    with _hooks(
        [a.register_forward_hook(watch(beta[n])) for n, a in adapters.items() if a is not None]
    ):
        yield


def _quantizers(model: nn.Module) -> Iterator[tuple[str, ActivationQuantizer]]:
    """Every activation quantizer, by the name of its layer."""
    found = False
    for name, module in model.named_modules():
        quantizer = getattr(module, "activation_quantizer", None)
        if isinstance(quantizer, ActivationQuantizer):
            found = True
            yield name, quantizer
    if not found:
        raise InputError("the network must quantize its activations; this one does not")


def _predict(model: nn.Module, dataset: Dataset) -> None:
    """Run a network in floating point, also one that computes in integers."""
    with in_floating_point(model):
        predict(model, dataset)


def _beta(quantizer: ActivationQuantizer, x: Tensor) -> Tensor:
    return torch.ones(len(x)) if quantizer.adapter is None else quantizer.adapter(x)


@contextmanager
def _hooks(handles: list[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
