"""What the input of a layer would lose with other steps than the one that acts, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.evaluation import predict
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import channel_means

__all__ = ["OCTAVE", "StepErrors", "step_errors"]

OCTAVE = 16
"""Candidates for a step in each octave."""
_SHIFTS = np.arange(-2 * OCTAVE, 2 * OCTAVE + 1) / OCTAVE
"""The candidates, as powers of two times the learned step: two octaves either way."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepErrors:
    """What one quantizer met in a pass over N images.

    Parameters
    ----------
    errors : float64 array of shape (N, candidates)
        Squared error of each image with each candidate, the same steps for all.
    adapted : float64 array of shape (N, candidates)
        The same with each candidate times the image's beta.
    means : float64 array of shape (N, C)
        Means of the input's channels.
    beta : float64 array of shape (N,)
        What the adapter gave; 1 where there is none.
    """

    errors: Floats
    adapted: Floats
    means: Floats
    beta: Floats


def step_errors(
    model: nn.Module, dataset: Dataset | ImageFolder, layer: str, change: ImageChange | None = None
) -> StepErrors:
    """Run images through a network and measure the input of one layer.

    Parameters
    ----------
    model : nn.Module
        The network.
    dataset : Dataset or ImageFolder
        Its images.
    layer : str
        The layer's name.
    change : ImageChange, optional
        What is done to every image first.

    Raises
    ------
    InputError
        If there is no such layer, or its input is not quantized with one learned step.
    """
    modules = dict(model.named_modules())
    quantizer = getattr(modules.get(layer), "activation_quantizer", None)
    if not isinstance(quantizer, ActivationQuantizer):
        raise InputError(f"layer {layer!r} must be one whose input has a learned step")
    parts: list[tuple[Tensor, ...]] = []

    def see(module: ActivationQuantizer, inputs: tuple[Tensor]) -> None:
        x = inputs[0]
        beta = torch.ones(len(x)) if module.adapter is None else module.adapter(x)
        fixed, adapted = (
            torch.stack([_errors(module, x, steps * 2.0**shift) for shift in _SHIFTS], 1)
            for steps in (module.step().expand(len(x)), module.step() * beta)
        )
        parts.append((fixed, adapted, channel_means(x).double(), beta.double()))

    handle = quantizer.register_forward_pre_hook(see)
    try:
        predict(model, dataset, change=change)
    finally:
        handle.remove()
    errors, adapted, means, beta = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return StepErrors(errors=errors, adapted=adapted, means=means, beta=beta)


def _errors(quantizer: ActivationQuantizer, x: Tensor, steps: Tensor) -> Tensor:
    """Squared error of each image with its step, ``(N,)``."""
    grid, steps = quantizer.grid, steps.view(-1, *(1 for _ in x.shape[1:]))
    rounded = (x / steps).round_().clamp_(grid.minimum, grid.maximum).mul_(steps)
    return (rounded - x).flatten(1).double().square().sum(1)
