"""Operators that torch has as functions, as modules: so they have names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Function", "PaddedBefore", "WithConstant", "clamped"]


class Function(nn.Module):
    """A function of tensors."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        """What the function makes."""
        return self.function(*tensors)


class PaddedBefore(nn.Module):
    """A module with something around what it is given.

    Parameters
    ----------
    module : nn.Module
    sides : sequence of int
        Columns left and right, rows above and below.
    value : float
        What is put there.
    """

    def __init__(self, module: nn.Module, sides: Sequence[int], value: float = 0.0) -> None:
        super().__init__()
        self.module = module
        self.sides, self.value = list(sides), value

    def forward(self, images: Tensor) -> Tensor:
        """What the module makes of them with their border."""
        made: Tensor = self.module(functional.pad(images, self.sides, value=self.value))
        return made


class WithConstant(nn.Module):
    """A function of one tensor and a constant.

    Parameters
    ----------
    function : callable
    constant : Tensor
    is_first : bool
        Whether the constant is the first operand.
    """

    constant: Tensor

    def __init__(
        self, function: Callable[[Tensor, Tensor], Tensor], constant: Tensor, *, is_first: bool
    ) -> None:
        super().__init__()
        self.function, self.is_first = function, is_first
        self.register_buffer("constant", constant)

    def forward(self, tensor: Tensor) -> Tensor:
        """What the function makes."""
        pair = (self.constant, tensor) if self.is_first else (tensor, self.constant)
        return self.function(*pair)


def clamped(low: float | None, high: float | None) -> nn.Module:
    """Values between two bounds."""
    if low is None and high is None:
        return nn.Identity()
    return Function(lambda x: torch.clamp(x, low, high))
