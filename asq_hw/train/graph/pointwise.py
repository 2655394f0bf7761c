"""Modules that compute a function of single values; in integers each becomes a table."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = [
    "NEVER_NEGATIVE",
    "POINTWISE",
    "ChannelScale",
    "evaluated",
    "is_never_negative",
    "tables_of",
]


class ChannelScale(nn.Module):
    """A factor and an offset for each channel, such as a batch norm that nothing can take over.

    Parameters
    ----------
    factors, offsets : Tensor of shape (C,)
        Trained like weights, from these values on.
    """

    def __init__(self, factors: Tensor, offsets: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(factors.detach().clone())
        self.offsets = nn.Parameter(offsets.detach().clone())

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to the same shape."""
        each = (-1, *[1] * (input.dim() - 2))
        return input * self.factors.reshape(each) + self.offsets.reshape(each)

    def extra_repr(self) -> str:
        """Number of channels."""
        return str(self.factors.numel())


NEVER_NEGATIVE = (nn.Sigmoid, nn.Hardsigmoid, nn.Softplus)
"""Modules of `POINTWISE` that give no negative value, whatever they are given."""

POINTWISE = (
    *NEVER_NEGATIVE,
    nn.Hardswish,
    nn.Hardtanh,
    nn.SiLU,
    nn.GELU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.Mish,
    nn.Tanh,
    nn.LogSigmoid,
    nn.LeakyReLU,
    nn.PReLU,
    ChannelScale,
)
"""Modules whose function is continuous, so that straight lines come as close to it as is wanted."""


def is_never_negative(module: nn.Module) -> bool:
    """Whether a module gives no negative value, whatever it is given."""
    if type(module) is nn.Hardtanh:
        return module.min_val >= 0
    if type(module) is nn.LeakyReLU:
        return module.negative_slope <= 0
    return type(module) in NEVER_NEGATIVE


def tables_of(module: nn.Module) -> int:
    """How many functions a module of `POINTWISE` computes: 1, or one for each channel."""
    if isinstance(module, ChannelScale):
        return module.factors.numel()
    return module.num_parameters if isinstance(module, nn.PReLU) else 1


@torch.no_grad()
def evaluated(module: nn.Module, places: Tensor) -> Tensor:
    """What a module makes of each place.

    Parameters
    ----------
    module : nn.Module
        One of `POINTWISE`; it is left as it is.
    places : float64 tensor of shape (K,)

    Returns
    -------
    float64 tensor of shape (T, K)
        One row for each of `tables_of` it.
    """
    twin = copy.deepcopy(module).double().cpu()
    count = tables_of(module)
    made: Tensor = twin(places.expand(1, count, -1).clone())
    return made[0]
