"""Learned numbers that are positive by construction: steps, alphas and clips."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.train.quantizers.gradients import keep_positive

__all__ = ["PositiveParameter"]

_FLOOR_FRACTION = 2.0**-10
"""Floor of a step or alpha, as a fraction of its initial value."""


class PositiveParameter(nn.Module):
    """A learned positive number, or one for each output channel.

    What acts is the parameter where it lies above a small floor, and the floor where it does not.
    The floor is fixed at the initialization, unless `hold` moves it.

    Parameters
    ----------
    shape : tuple of int
        ``()``, or one that broadcasts to that of the weights.
    decays : bool
        Whether weight decay acts on it.
    """

    floor: Tensor

    def __init__(self, shape: tuple[int, ...], *, decays: bool = False) -> None:
        super().__init__()
        self.decays = decays
        self.value = nn.Parameter(torch.ones(shape))
        self.register_buffer("floor", torch.full(shape, _FLOOR_FRACTION))

    def initialize(self, value: Tensor) -> None:
        """Start from a value, and put the floor at a fraction of it."""
        with torch.no_grad():
            self.value.copy_(value)
            self.floor.copy_(value * _FLOOR_FRACTION)

    def hold(self, low: Tensor, high: Tensor) -> None:
        """Move the parameter itself into ``low..high``, and the floor to `low`.

        Both of as many entries as the parameter; where `low` is not positive, nothing moves.
        """
        shape = self.value.shape
        low, high = low.detach().reshape(shape), high.detach().reshape(shape)
        given = (low > 0) & torch.isfinite(high)
        # Through `data`: an earlier pass of the same update may still need its gradient, and what
        # moves nothing in this one is no change.
        value, floor = self.value.data, self.floor.data
        floor.copy_(torch.where(given, low, floor))
        value.copy_(torch.where(given, torch.minimum(torch.maximum(value, low), high), value))

    def forward(self, gradient_scale: float = 1.0) -> Tensor:
        """What acts: always finite, and at least the floor."""
        return keep_positive(self.value, self.floor, gradient_scale)
