"""Post-training quantization: where scales start, from a network's weights and what it meets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.modes import evaluation_mode
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.observation import Observation

__all__ = ["is_calibrated", "quantized_layers", "start_scales", "unquantized"]

AnyLayer = QuantConv2d | QuantLinear


class _Observer(nn.Module):
    """Sees a layer's input, and passes it on."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.seen = name, Observation()

    def forward(self, x: Tensor) -> Tensor:
        """What is given."""
        try:
            self.seen.add(x)
        except InputError as error:
            raise InputError(f"the input of layer {self.name}: {error}") from None
        return x


def quantized_layers(model: nn.Module) -> dict[str, AnyLayer]:
    """The quantized layers of a network, by their names."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, AnyLayer)}


def is_calibrated(model: nn.Module) -> bool:
    """Whether every quantizer of activations has started."""
    return all(
        bool(module.is_initialised)
        for module in model.modules()
        if isinstance(module, BaseActivationQuantizer)
    )


@contextmanager
def unquantized(model: nn.Module) -> Iterator[dict[str, _Observer]]:
    """Let a network compute in floating point for a while.

    Yields
    ------
    dict of str to observer
        What stands in the place of each quantizer of activations, by its layer's name.
    """
    before: list[tuple[nn.Module, dict[str, nn.Module | None]]] = []
    observers = {}
    try:
        for name, layer in quantized_layers(model).items():
            before.append((layer, dict(layer._modules)))
            layer._modules["weight_quantizer"] = None
            if layer.activation_quantizer is not None:
                observers[name] = _Observer(name)
                layer._modules["activation_quantizer"] = observers[name]
        yield observers
    finally:
        for changed, modules in before:
            changed._modules.clear()
            changed._modules.update(modules)


@torch.no_grad()
def start_scales(model: nn.Module, batches: Iterable[Tensor], how: StepStart) -> None:
    """Let every scale of a quantized network start anew.

    Scales of weights start from the weights, those of activations from what the layers' inputs are
    in floating point, over all batches. If anything is refused, nothing has changed.

    Parameters
    ----------
    model : nn.Module
        A quantized network; its modes stay as they are.
    batches : iterable of float tensors of shape (N, C, H, W)
        Images as the network takes them; seen once, in evaluation mode.
    how : StepStart
        Where a scale starts.

    Raises
    ------
    InputError
        If a layer's input is not finite.
    """
    with evaluation_mode(model), unquantized(model) as observers:
        for images in batches:
            model(images.to(next(model.parameters()).device))
    for name, layer in quantized_layers(model).items():
        if layer.weight_quantizer is not None:
            layer.weight_quantizer.start(layer.weight, how)
        if layer.activation_quantizer is not None:
            layer.activation_quantizer.start(observers[name].seen, how)
