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

__all__ = [
    "error_fractions",
    "first_step",
    "first_steps",
    "initial_alpha",
    "initial_alphas",
    "initial_clip",
    "initial_step",
    "least_squares_step",
    "min_max_step",
]

_CANDIDATES = 64
_CLIP_SAMPLES = 1 << 16
_ROUNDED_TOGETHER = 1 << 15
"""Weights that are rounded together, so that a few temporaries fit a core's cache."""


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
    return _least_squares_steps(x.detach().reshape(1, -1), grid)[0]


def _least_squares_steps(rows: Tensor, grid: Grid) -> Tensor:
    rows = rows.to(torch.float32)
    # An odd distance meets every column of a map whose width is a power of two.
    rows = rows[:, :: rows.shape[1] // _CLIP_SAMPLES | 1]

    def rounded(some: Tensor, step: Tensor) -> Tensor:
        return (some / step).round_().clamp_(grid.minimum, grid.maximum).mul_(step)

    return _of_least_error(rows.abs().amax(1) / grid.maximum, rows, rounded)


def min_max_step(low: Tensor, high: Tensor, grid: Grid) -> Tensor:
    """The least step that clips nothing between two values; 1 if both are zero."""
    step = high.clamp(min=0) / grid.maximum
    if grid.minimum < 0:
        step = torch.maximum(step, low.clamp(max=0) / grid.minimum)
    return torch.where(step > 0, step, torch.ones_like(step))


def first_step(x: Tensor, grid: Grid, start: StepStart) -> Tensor:
    """The step that a uniform quantizer of `x` starts at."""
    match start:
        case StepStart.LSQ:
            return initial_step(x, grid.maximum)
        case StepStart.LEAST_SQUARES:
            return least_squares_step(x, grid)
        case StepStart.MIN_MAX:
            return min_max_step(*x.detach().float().aminmax(), grid)
        case _:
            assert_never(start)


def first_steps(rows: Tensor, grid: Grid, start: StepStart) -> Tensor:
    """The first step of each of rows ``(R, K)``, as `first_step` gives it."""
    if start is StepStart.LEAST_SQUARES:
        return _least_squares_steps(rows.detach(), grid)
    return torch.stack([first_step(row, grid, start) for row in rows])


def initial_alpha(weight: Tensor, grid: Grid) -> Tensor:
    """The alpha, of 64 fractions of ``max|w|``, with the least squared error.

    All zero gives 1.
    """
    return initial_alphas(weight.reshape(1, -1), grid, StepStart.LEAST_SQUARES)[0]


def initial_alphas(rows: Tensor, grid: Grid, start: StepStart) -> Tensor:
    """The first alpha of each of rows of weights ``(R, K)``; those of LSQ have the least error."""
    rows = rows.detach().to(torch.float32)
    table = level_table(grid, rows)
    largest = rows.abs().amax(1) / table.values[-1]
    if start is StepStart.MIN_MAX:
        return torch.where(largest > 0, largest, torch.ones_like(largest))
    return _of_least_error(
        rows.abs().amax(1),
        rows,
        lambda some, alpha: table.round(some / alpha) * alpha,
        unit=table.values[-1],
    )


def initial_clip(x: Tensor, maximum: int) -> Tensor:
    """The clip, of 64 fractions of ``max|x|``, whose codes have the least squared error.

    Codes are integers up to `maximum`, of the magnitude; no more than 131,071 elements, evenly
    spread, are looked at. All zero gives 1.
    """
    flat = x.detach().flatten().abs().to(torch.float32)
    rows = flat[:: max(1, len(flat) // _CLIP_SAMPLES)][None]

    def rounded(some: Tensor, clip: Tensor) -> Tensor:
        step = clip / maximum
        return (some / step).round_().clamp_(max=maximum).mul_(step)

    return _of_least_error(rows.amax(1), rows, rounded)[0]


def error_fractions(largest: Tensor) -> Tensor:
    """The scales that are tried: 64 fractions of each of some values ``(R,)``, ``(64, R)``."""
    fractions = torch.arange(1, _CANDIDATES + 1, device=largest.device) / _CANDIDATES
    return fractions[:, None] * largest


def _of_least_error(
    largest: Tensor,
    rows: Tensor,
    rounded: Callable[[Tensor, Tensor], Tensor],
    unit: Tensor | None = None,
) -> Tensor:
    """The scales ``(R,)`` with which rows ``(R, K)`` are rounded best; 1 where the largest is 0.

    Tried are fractions of `largest`, divided by `unit`; `rounded` is given some rows, and a scale
    for each.
    """
    scales = error_fractions(largest)
    scales = scales if unit is None else scales / unit
    together = max(1, _ROUNDED_TOGETHER // rows.shape[1])
    parts = zip(torch.split(rows, together), torch.split(scales, together, dim=1), strict=True)
    errors = [
        torch.stack([(rounded(some, scale[:, None]) - some).square_().sum(1) for scale in tried])
        for some, tried in parts
    ]
    best = torch.cat(errors, dim=1).argmin(0)
    chosen = scales.gather(0, best[None])[0]
    return torch.where(scales[-1] > 0, chosen, torch.ones_like(chosen))
