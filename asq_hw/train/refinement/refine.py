"""Post-training quantization of a converted network, from its scales to the last correction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from asq_hw.train.calibration import quantized_layers, start_scales, unquantized
from asq_hw.train.data.loaders import images_at_once
from asq_hw.train.modes import evaluation_mode
from asq_hw.train.refinement.changes import Change, changes, real_tensors, take_back
from asq_hw.train.refinement.correction import (
    Moments,
    add_biases,
    correct,
    output_moments,
    watched,
)
from asq_hw.train.refinement.equalization import equalize
from asq_hw.train.refinement.moments import InputMoments
from asq_hw.train.refinement.options import Correction, PostTrainingSettings, Rounding
from asq_hw.train.refinement.rounding import adapted_weight, check_adaptable

__all__ = ["quantize_after_training"]

_PIXELS = 32 * 224 * 224
"""Values of a channel, over all images, that a network is refined with,"""
_FEWEST = 32
"""where that is not less than so many images."""


def quantize_after_training(
    model: nn.Module,
    batches: Iterable[Tensor],
    sample: Callable[[], Tensor],
    how: PostTrainingSettings,
    *,
    earlier: Mapping[str, Change] | None = None,
) -> dict[str, Change]:
    """Choose all that a converted network needs to compute with few bits, without training it.

    If anything is refused, nothing has changed.

    Parameters
    ----------
    model : nn.Module
        A network that `asq_hw.train.graph.conversion.quantize` made; its modes stay as they are.
    batches : iterable of float tensors of shape (N, C, H, W)
        Images as the network takes them, for the scales; seen once.
    sample : callable
        Called when `batches` are through: gives some of these images, ``(M, C, H, W)``, for all
        else.
    how : PostTrainingSettings
        What is done.
    earlier : mapping of str to Change, optional
        What an earlier call returned. It is taken back first, but for what was trained since.

    Returns
    -------
    dict of str to Change
        The weights, biases and statistics that are not as they were.

    Raises
    ------
    InputError
        If a layer's input is not finite, or the weights of a layer cannot be rounded so.
    """
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with evaluation_mode(model), torch.no_grad():
            take_back(model, earlier or {})
            first = {name: value.clone() for name, value in real_tensors(model).items()}
            _refine(model, batches, sample, how)
            return changes(model, first)
    except BaseException:
        _restore(model, before)
        raise


def _restore(model: nn.Module, before: dict[str, Tensor]) -> None:
    for name, layer in quantized_layers(model).items():
        if f"{name}.bias" not in before:
            layer.bias = None
    model.load_state_dict(before)


def _refine(
    model: nn.Module,
    batches: Iterable[Tensor],
    sample: Callable[[], Tensor],
    how: PostTrainingSettings,
) -> None:
    if how.equalize:
        equalize(model)
    start_scales(model, batches, how.scales)
    layers, is_adaptive = quantized_layers(model), how.rounding is Rounding.ADAPTIVE
    if is_adaptive:
        for name, layer in layers.items():
            check_adaptable(name, layer)
    if how.correction is Correction.NONE and not is_adaptive:
        return
    parts = _divided(sample().to(next(model.parameters()).device))
    inputs = {
        name: InputMoments(layer)
        for name, layer in layers.items()
        if is_adaptive and layer.weight_quantizer is not None
    }
    outputs = _floating_moments(model, parts, inputs)
    for name, moments in inputs.items():
        if moments.count:
            layers[name].weight.copy_(adapted_weight(layers[name], moments))
    if how.correction is not Correction.NONE:
        add_biases(model)
        correct(model, parts, outputs, how.correction)


def _divided(images: Tensor) -> tuple[Tensor, ...]:
    """Some of the images, at even distances, in batches that are not large."""
    pixels = math.prod(images.shape[2:])
    count = min(len(images), max(_FEWEST, _PIXELS // pixels))
    chosen = images[torch.linspace(0, len(images) - 1, count).round().long()]
    return chosen.tensor_split(-(-count // images_at_once(chosen)))


def _floating_moments(
    model: nn.Module, batches: Sequence[Tensor], inputs: dict[str, InputMoments]
) -> list[dict[str, Moments]]:
    """Run a network in floating point: its outputs' moments, and those of the inputs asked for."""
    found: list[dict[str, Moments]] = []

    def see(name: str, x: Tensor, y: Tensor) -> None:
        found[-1][name] = output_moments(y)
        if name in inputs:
            inputs[name].add(x)

    with unquantized(model), watched(quantized_layers(model), see):
        for images in batches:
            found.append({})
            model(images)
    return found
