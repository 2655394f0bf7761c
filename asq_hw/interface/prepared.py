"""What a prepared network carries along from step to step, beside its parameters and buffers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from asq_hw.errors import InputError
from asq_hw.train.data.loaders import EvenSample
from asq_hw.train.recipes.quantization import Quantization
from asq_hw.train.refinement.changes import Change

__all__ = ["CALIBRATION_IMAGES", "Prepared", "attach", "device_of", "prepared"]

CALIBRATION_IMAGES = 128
"""Most images that are kept from calibration, for the formats of feature maps."""

_KEY = "asq_hw"


@dataclass(slots=True, kw_only=True)
class Prepared:
    """What is known of a network that `prepare` made.

    Parameters
    ----------
    name : str
        Of the network that it was made of.
    how : Quantization
        Its methods and widths.
    shape : tuple of int or None
        ``(C, H, W)`` of the images that it takes, or ``(C,)`` of vectors; None until that is known.
    example : float32 tensor of shape (M, C, H, W) or (M, C), or None
        With which its network was rewritten; None where that was taken as it stood.
    images : float32 tensor of shape (M, C, H, W) or (M, C), or None
        A few of those that it was calibrated with.
    reach : float
        Largest magnitude of all those, which are more.
    changed : dict of str to Change
        Weights, biases and statistics that calibration changed.
    """

    name: str
    how: Quantization
    shape: tuple[int, ...] | None
    example: Tensor | None
    images: Tensor | None = field(default=None)
    reach: float = 0.0
    changed: dict[str, Change] = field(default_factory=dict)

    def keep(self, sample: EvenSample) -> None:
        """Keep a few of the images that a network was calibrated with, and what is known of all."""
        self.images, self.reach = sample.images(), sample.reach
        if self.shape is None:
            self.shape = tuple(self.images.shape[1:])


def attach(model: fx.GraphModule, facts: Prepared) -> None:
    """Let a network carry facts, also in its copies."""
    model.meta[_KEY] = facts


def prepared(model: nn.Module, what: str) -> Prepared:
    """What is known of a network that `prepare` made.

    Raises
    ------
    InputError
        If it is none; `what` is done with it.
    """
    found = getattr(model, "meta", {}).get(_KEY) if isinstance(model, nn.Module) else None
    if not isinstance(found, Prepared):
        raise InputError(
            f"{what} takes a network that asq_hw.prepare made, not {type(model).__name__}"
        )
    return found


def device_of(model: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(model.parameters()).device
