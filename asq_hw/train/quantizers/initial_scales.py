"""Where steps, alphas and clips start, from weights or a first batch of activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.quantizers.levels import level_table

__all__ = ["first_step", "initial_alpha", "initial_clip", "initial_step", "least_squares_step"]

_CANDIDATES = 64
_CLIP_SAMPLES = 1 << 16


def initial_step(x: Tensor, maximum: int) -> Tensor:
    """LSQ's first step, ``2 * mean|x| / sqrt(Qp)``, but no more than ``max|x| / Qp``.

    At 8 bits LSQ's formula reaches far beyond the data and would leave most codes unused;
    the bound is the step whose largest code is the largest value. All zero gives 1.
    """
    magnitude = x.detach().abs().to(torch.float32)
    step = torch.minimum(2 * magnitude.mean() / math.sqrt(maximum), magnitude.amax() / maximum)
    return torch.where(step > 0, step, torch.ones_like(step))


def least_squares_step(x: Tensor, grid: Grid) -> Tensor:
    """The step, of 64 fractions of ``max|x| / Qp``, with the least squared error.

    No more than 131,071 elements, at even distances, are looked at. All zero gives 1.
    """
    flat = x.detach().flatten().to(torch.float32)
    # An odd distance meets every column of a map whose width is a power of two.
    flat = flat[:: len(flat) // _CLIP_SAMPLES | 1]

    def rounded(step: Tensor) -> Tensor:
        return (flat / step).round_().clamp_(grid.minimum, grid.maximum).mul_(step)

    return _of_least_error(_fractions_of(flat.abs().amax() / grid.maximum), flat, rounded)


def first_step(x: Tensor, grid: Grid, start: StepStart) -> Tensor:
    """The step that a uniform quantizer of `x` starts at."""
    match start:
        case StepStart.LSQ:
            return initial_step(x, grid.maximum)
        case StepStart.LEAST_SQUARES:
            return least_squares_step(x, grid)
        case _:
            assert_never(start)


def initial_alpha(weight: Tensor, grid: Grid) -> Tensor:
    """The alpha, of 64 fractions of ``max|w|``, with the least squared error.

    All zero gives 1.
    """
    flat = weight.detach().flatten().to(torch.float32)
    table = level_table(grid, flat)
    scales = _fractions_of(flat.abs().amax()) / table.values[-1]
    return _of_least_error(scales, flat, lambda alpha: table.round(flat / alpha) * alpha)


def initial_clip(x: Tensor, maximum: int) -> Tensor:
    """The clip, of 64 fractions of ``max|x|``, whose codes have the least squared error.

    Codes are integers up to `maximum`, of the magnitude; no more than 131,071 elements, evenly
    spread, are looked at. All zero gives 1.
    """
    flat = x.detach().flatten().abs().to(torch.float32)
    flat = flat[:: max(1, len(flat) // _CLIP_SAMPLES)]

    def rounded(clip: Tensor) -> Tensor:
        step = clip / maximum
        return (flat / step).round_().clamp_(max=maximum).mul_(step)

    return _of_least_error(_fractions_of(flat.amax()), flat, rounded)


def _fractions_of(largest: Tensor) -> Tensor:
    return torch.arange(1, _CANDIDATES + 1, device=largest.device) / _CANDIDATES * largest


def _of_least_error(scales: Tensor, x: Tensor, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """The scale with which `x` is rounded best; 1 if even the last, the largest, is 0."""
    if not scales[-1] > 0:
        return torch.ones_like(scales[-1])
    errors = [(rounded(scale) - x).square().sum() for scale in scales]
    return scales[torch.stack(errors).argmin()]
