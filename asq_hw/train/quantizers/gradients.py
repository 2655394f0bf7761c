"""Values with another gradient than their own, as autograd functions.

What a quantizer learns is computed in float32 at least, whatever the type of its input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "bound_between",
    "computed",
    "keep_positive",
    "kept",
    "scale_gradient",
    "straight_round",
    "with_channel_means",
    "with_gradient_of",
]


def with_gradient_of(soft: Tensor, value: Tensor) -> Tensor:
    """`value`; the gradient goes to `soft`, as if that had been returned."""
    hard: Tensor = _WithGradientOf.apply(soft, value)  # type: ignore[no-untyped-call]  # untyped
    return hard


def straight_round(x: Tensor) -> Tensor:
    """Round to integers, ties to even; the gradient passes as if nothing had happened."""
    return with_gradient_of(x, x.detach().round())


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x` as it is; its gradient is multiplied by `factor` on the way back."""
    same: Tensor = _ScaleGradient.apply(x, factor)  # type: ignore[no-untyped-call]  # as above
    return same


def keep_positive(parameter: Tensor, floor: Tensor, gradient_factor: float = 1.0) -> Tensor:
    """The parameter where it is finite and above its floor, elsewhere the floor.

    The gradient passes straight through, so that a parameter below its floor can come back; on
    the way it is multiplied by `gradient_factor`.
    """
    kept: Tensor = _KeepPositive.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        parameter, floor, gradient_factor
    )
    return kept


def bound_between(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp to ``low..high``; at and beyond an end only such gradients pass as lead back inside.

    So what has been driven out can come back, and is not driven on.
    """
    bounded: Tensor = _BoundBetween.apply(  # type: ignore[no-untyped-call]  # torch's is untyped
        x, low, high
    )
    return bounded


def with_channel_means(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` and its mean over H and W, float ``(N, C)``; x is ``(N, C, H, W)``.

    What ``x.mean(dim=(2, 3))`` does in float32, but on the way back the mean's gradient is
    added to that of the returned `x` in its own memory, so exactly one operation that makes its
    gradient anew, `round_uniform`, may read it.
    """
    both: tuple[Tensor, Tensor] = _WithChannelMeans.apply(  # type: ignore[no-untyped-call]
        x
    )
    return both


def computed(x: Tensor) -> Tensor:
    """`x` in the type that is computed in: float32, or its own float64."""
    return x if x.dtype == _computed_type(x.dtype) else x.float()


def _computed_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def kept(parameter: Tensor, floor: Tensor | None) -> Tensor:
    """What acts in the place of a parameter, without a gradient; without a floor, itself."""
    if floor is None:
        return parameter
    # What is infinite or not a number becomes 0, which is below any floor.
    return torch.nan_to_num(parameter, 0.0, 0.0).maximum(floor)


class _WithGradientOf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, soft: Tensor, value: Tensor) -> Tensor:
        return value.detach().view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


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
    def forward(ctx: Any, parameter: Tensor, floor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return kept(parameter, floor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0] * ctx.factor, None, None


class _BoundBetween(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ends = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,), (low, high), gradient = ctx.saved_tensors, ctx.ends, gradients[0]
        # Descent goes against the gradient.
        outward = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        return gradient.masked_fill(outward, 0), None, None


class _WithChannelMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.mean(dim=(2, 3), dtype=_computed_type(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        to_x, to_means = gradients
        share = to_means / (to_x.shape[2] * to_x.shape[3])
        return to_x.add_(share[:, :, None, None].to(to_x.dtype))
