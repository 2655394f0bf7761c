"""Rounding to a grid with the gradients of the paper's Eq. 7-9, as autograd functions.

Everything is computed in float32 at least, whatever the type of the input; the result has
the input's type. Nothing of the size of the input is kept for the backward pass but what the
network keeps anyway: the input of a quantizer, and of a weight quantizer its output too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from asq_hw.train.quantizers.gradients import computed, kept
from asq_hw.train.quantizers.levels import LevelTable

if TYPE_CHECKING:
    from asq_hw.train.compiled.rounding import CompiledRounding

__all__ = [
    "round_to_levels",
    "round_uniform",
]

_PIECE = 1 << 18
"""Elements whose gradients are computed at a time: a few temporaries fit a core's cache."""


def round_uniform(
    x: Tensor,
    step: Tensor,
    minimum: int,
    maximum: int,
    *,
    beta: Tensor | None = None,
    floor: Tensor | None = None,
    gradient_factor: float = 1.0,
    loops: CompiledRounding | None = None,
) -> Tensor:
    """Quantize to integers times a step: ``clip(round(x / step), minimum, maximum) * step``.

    Gradients are LSQ's (Eq. 7), with ties of the rounding going to the even integer: to x
    the gradient passes inside the range and stops outside; the step receives
    ``round(x / step) - x / step`` inside, `minimum` below and `maximum` above.

    Parameters
    ----------
    x : float tensor
        What is quantized.
    step : float tensor
        Positive; of a shape that broadcasts to that of `x`: one step for all, or one for each
        output channel.
    minimum, maximum : int
        Qn and Qp of Eq. 1.
    beta : float tensor of shape (N,), optional
        Each sample's factor on the one step; both receive their part of the gradient (Eq. 4-9).
    floor : float tensor, optional
        What acts is `keep_positive` of the step and this floor.
    gradient_factor : float
        The step's gradient, not that of beta, is multiplied by it.
    loops : CompiledRounding, optional
        Compiled loops that compute the same, where they apply.
    """
    rounded: Tensor = _RoundUniform.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        x, step, floor, beta, minimum, maximum, gradient_factor, loops
    )
    return rounded


def round_to_levels(
    w: Tensor,
    alpha: Tensor,
    table: LevelTable,
    *,
    floor: Tensor | None = None,
    gradient_factor: float = 1.0,
    loops: CompiledRounding | None = None,
) -> Tensor:
    """Quantize to the nearest of ascending levels times alpha; a tie goes to the lower level.

    The gradient to w passes inside the outermost levels and stops outside; alpha receives
    ``level - w / alpha`` inside and the outermost level outside: Eq. 7 for a grid that is not
    uniform.

    Parameters
    ----------
    w : float tensor
        What is quantized.
    alpha : float tensor
        Positive; of a shape that broadcasts to that of `w`.
    table : LevelTable
        The levels.
    floor : float tensor, optional
        What acts is `keep_positive` of alpha and this floor.
    gradient_factor : float
        Alpha's gradient is multiplied by it.
    loops : CompiledRounding, optional
        Compiled loops that compute the same, where they apply.
    """
    rounded: Tensor = _RoundToLevels.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        w, alpha, floor, table, gradient_factor, loops
    )
    return rounded


class _RoundUniform(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        step: Tensor,
        floor: Tensor | None,
        beta: Tensor | None,
        minimum: int,
        maximum: int,
        factor: float,
        loops: CompiledRounding | None,
    ) -> Tensor:
        step = kept(step, floor)
        acting = _acting(x, step, beta)
        ctx.save_for_backward(x, step, beta, acting)
        ctx.bounds, ctx.factor = (minimum, maximum), factor
        rounded = None if loops is None else loops.uniform(x, acting, ctx.bounds)
        ctx.loops = None if rounded is None else loops
        if rounded is not None:
            return rounded
        return (computed(x) / acting).round_().clamp_(minimum, maximum).mul_(acting).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, step, beta, acting = ctx.saved_tensors
        given = computed(x), acting, computed(gradients[0]), ctx.bounds
        found = None if ctx.loops is None else ctx.loops.uniform_gradients(*given)
        to_x, slope = found or _uniform_gradients(*given)
        to_beta = None
        if beta is not None:
            slope = slope.view_as(beta)
            slope, to_beta = torch.dot(slope, beta), slope * step
        return _as(x, to_x), _times(slope, ctx.factor), None, to_beta, None, None, None, None


def _acting(x: Tensor, step: Tensor, beta: Tensor | None) -> Tensor:
    """The steps that act, in a shape that broadcasts to that of `x`."""
    return step if beta is None else (beta * step).view(-1, *(1 for _ in x.shape[1:]))


def _uniform_gradients(
    x: Tensor, step: Tensor, gradient: Tensor, bounds: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Eq. 7: the gradients of `x` and of the steps, in their shapes."""
    to_x = torch.empty_like(gradient)
    slopes = [_uniform_slope(*piece, bounds=bounds) for piece in _pieces(step, x, gradient, to_x)]
    if len(slopes) == 1:
        return to_x, slopes[0]
    return to_x, torch.cat(slopes) if step.dim() else torch.stack(slopes).sum()


def _uniform_slope(
    step: Tensor, x: Tensor, gradient: Tensor, to_x: Tensor, *, bounds: tuple[int, int]
) -> Tensor:
    """Eq. 7 for a piece of a batch: fill `to_x`, and return the step's gradient."""
    ratio = x / step
    # The code everywhere, less the ratio where it lies inside.
    slope = ratio.round().clamp_(*bounds).mul_(gradient)
    _pass_inside(gradient, ratio, *bounds, out=to_x)
    return slope.addcmul_(ratio, to_x, value=-1).sum_to_size(step.shape)


def _pieces(step: Tensor, *maps: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Cut what a step acts on into pieces whose temporaries stay in a core's cache."""
    x = maps[0]
    own_step = step.dim() > 0 and step.dim() == x.dim() and len(step) == len(x)
    if x.numel() <= _PIECE or not x.is_cpu or not (own_step or step.dim() == 0):
        return [(step, *maps)]
    rows = max(1, _PIECE * len(x) // x.numel())
    steps = torch.split(step, rows) if own_step else repeat(step)
    return zip(steps, *(torch.split(values, rows) for values in maps), strict=False)


class _RoundToLevels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        w: Tensor,
        alpha: Tensor,
        floor: Tensor | None,
        table: LevelTable,
        factor: float,
        loops: CompiledRounding | None,
    ) -> Tensor:
        alpha = kept(alpha, floor)
        rounded = None if loops is None else loops.to_levels(w, alpha, table)
        ctx.loops = None if rounded is None else loops
        if rounded is None:
            rounded = table.round(computed(w) / alpha).mul_(alpha).to(w.dtype)
        ctx.save_for_backward(w, alpha, rounded)
        ctx.bounds, ctx.factor = table.outermost, factor
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        w, alpha, rounded = ctx.saved_tensors
        given = computed(w), alpha, rounded, computed(gradients[0]), ctx.bounds
        found = None if ctx.loops is None else ctx.loops.level_gradients(*given)
        to_w, slope = found or _level_gradients(*given)
        return _as(w, to_w), _times(slope, ctx.factor), None, None, None, None


def _level_gradients(
    w: Tensor, alpha: Tensor, rounded: Tensor, gradient: Tensor, bounds: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """The gradients of `w` and alpha, in their shapes."""
    to_w = torch.empty_like(gradient)
    _pass_inside(gradient, w / alpha, *bounds, out=to_w)
    # The level everywhere, less the ratio where it lies inside; both times alpha.
    slope = (gradient * rounded).addcmul_(w, to_w, value=-1)
    return to_w, slope.sum_to_size(alpha.shape).div_(alpha)


def _as(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the type of `x`."""
    return gradient if gradient.dtype == x.dtype else gradient.to(x.dtype)


def _times(gradient: Tensor, factor: float) -> Tensor:
    return gradient if factor == 1 else gradient * factor


def _pass_inside(
    gradient: Tensor, ratio: Tensor, minimum: float, maximum: float, *, out: Tensor
) -> None:
    """The gradient where ``minimum <= ratio <= maximum``, elsewhere 0: one pass and no mask."""
    below, above = _just_outside(minimum, maximum, ratio.dtype)
    # torch's kernel leaves the bounds themselves out.
    torch.ops.aten.hardtanh_backward.grad_input(gradient, ratio, below, above, grad_input=out)


@lru_cache(maxsize=256)
def _just_outside(minimum: float, maximum: float, dtype: torch.dtype) -> tuple[float, float]:
    """The next number below the minimum, and the next above the maximum."""
    bounds = torch.tensor([minimum, maximum], dtype=dtype)
    below, above = torch.nextafter(bounds, bounds.new_tensor([-torch.inf, torch.inf])).tolist()
    return below, above
