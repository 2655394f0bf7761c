"""Rounding to a grid with the gradients of the paper's Eq. 7-9, as autograd functions.

Everything is computed in float32 at least, whatever the type of the input; the result has
the input's type. Nothing of the size of the input is kept for the backward pass but the
input itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["channel_means", "keep_positive", "round_to_levels", "round_uniform", "scale_gradient"]


def round_uniform(x: Tensor, step: Tensor, minimum: int, maximum: int) -> Tensor:
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
        sample (Eq. 4-6) or output channel.
    minimum, maximum : int
        Qn and Qp of Eq. 1.
    """
    rounded: Tensor = _RoundUniform.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        x, step, minimum, maximum
    )
    return rounded


def round_to_levels(w: Tensor, alpha: Tensor, levels: Tensor, midpoints: Tensor) -> Tensor:
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
    levels, midpoints : float tensor of shape (L,) and (L - 1,)
        The levels in ascending order, and what lies halfway between neighbours.
    """
    rounded: Tensor = _RoundToLevels.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        w, alpha, levels, midpoints
    )
    return rounded


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return `x` as it is; its gradient is multiplied by `factor` on the way back."""
    same: Tensor = _ScaleGradient.apply(x, factor)  # type: ignore[no-untyped-call]  # as above
    return same


def keep_positive(parameter: Tensor, floor: Tensor) -> Tensor:
    """Return the parameter where it is finite and above its floor, elsewhere the floor.

    The gradient passes straight through, so that a parameter below its floor can come back.
    """
    kept: Tensor = _KeepPositive.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        parameter, floor
    )
    return kept


def channel_means(x: Tensor) -> Tensor:
    """Return the mean over H and W of ``(N, C, H, W)``, as float ``(N, C)``.

    What ``x.mean(dim=(2, 3))`` does in float32, but the gradient is spread over the map as a
    view and never written out.
    """
    means: Tensor = _ChannelMeans.apply(x)  # type: ignore[no-untyped-call]  # torch's is untyped
    return means


def _computed(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _RoundUniform(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, minimum: int, maximum: int) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.bounds = minimum, maximum
        return (_computed(x) / step).round_().clamp_(minimum, maximum).mul_(step).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, step = ctx.saved_tensors
        minimum, maximum = ctx.bounds
        # clip(ratio) equals ratio exactly inside, and its rounding is the code everywhere.
        ratio = _computed(x) / step
        bounded = ratio.clamp(minimum, maximum)
        inside = bounded == ratio
        to_x = gradients[0] * inside
        slope = bounded.round().sub_(bounded.mul_(inside))
        to_step = slope.mul_(gradients[0]).sum_to_size(step.shape)
        return to_x, to_step, None, None


class _RoundToLevels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, alpha: Tensor, levels: Tensor, midpoints: Tensor) -> Tensor:
        ctx.save_for_backward(w, alpha, levels, midpoints)
        nearest = torch.bucketize((_computed(w) / alpha).contiguous(), midpoints)
        return (levels[nearest] * alpha).to(w.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        w, alpha, levels, midpoints = ctx.saved_tensors
        ratio = (_computed(w) / alpha).contiguous()
        gradient = _computed(gradients[0])
        inside = (ratio >= levels[0]) & (ratio <= levels[-1])
        to_w = gradient * inside
        slope = levels[torch.bucketize(ratio, midpoints)] - ratio * inside
        to_alpha = (slope * gradient).sum_to_size(alpha.shape)
        return to_w.to(w.dtype), to_alpha, None, None


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0] * ctx.factor, None


class _KeepPositive(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, floor: Tensor) -> Tensor:
        usable = (parameter > floor) & torch.isfinite(parameter)
        return torch.where(usable, parameter, floor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


class _ChannelMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return x.mean(dim=(2, 3), dtype=_computed(x[:0]).dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        height, width = ctx.shape[2:]
        share: Tensor = (gradients[0] / (height * width)).to(ctx.dtype)
        return share[:, :, None, None].expand(ctx.shape)
