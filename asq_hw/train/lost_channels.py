"""Output channels of which rounding has left nothing."""

from __future__ import annotations

import torch
from torch import nn

from asq_hw.train.quantizers.weights import WeightQuantizer

__all__ = ["lost_channels"]


@torch.no_grad()
def lost_channels(model: nn.Module) -> dict[str, int]:
    """Count the output channels whose weights all round to 0, though they are not all 0.

    Such a channel gives the same for every image. A learned step that has run away beyond all
    weights of its channel leaves one, and its network still trains.

    Parameters
    ----------
    model : nn.Module
        A network in evaluation mode, quantized or not.

    Returns
    -------
    dict of str to int
        By layer; layers that have lost none are left out.
    """
    found = {}
    for name, module in model.named_modules():
        quantizer = getattr(module, "weight_quantizer", None)
        if isinstance(quantizer, WeightQuantizer):
            weight = module.weight
            some, left = (w.flatten(1).any(dim=1) for w in (weight, quantizer(weight)))
            if count := int((some & ~left).sum()):
                found[name] = count
    return found
