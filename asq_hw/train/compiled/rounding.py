"""Rounding of tensors in compiled loops, where those apply.

They apply to float32 on a CPU, in rows of one scale each; PyTorch's own operations run on every
device and in every type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asq_hw.train.compiled import fake_quantize

if TYPE_CHECKING:
    from asq_hw.train.quantizers.levels import LevelTable

__all__ = ["CompiledRounding"]

_MOST_LEVELS = 64
"""Levels beyond which looking a cell up is faster than comparing with every midpoint."""
Floats = NDArray[np.float32]
Gradients = tuple[Tensor, Tensor]


class CompiledRounding:
    """What `asq_hw.train.quantizers.rounding` computes, in one pass; None where no loop applies.

    Making one compiles the loops, or finds them in Numba's cache.
    """

    def __init__(self) -> None:
        fake_quantize.compile_loops()

    def uniform(self, x: Tensor, step: Tensor, bounds: tuple[int, int]) -> Tensor | None:
        """``clip(round(x / step), minimum, maximum) * step``, or None."""
        if not _are_rows(x, step):
            return None
        out, threads = torch.empty_like(x), torch.get_num_threads()
        fake_quantize.round_uniform(_rows(x), _scales(step), bounds, threads, _rows(out))
        return out

    def uniform_gradients(
        self, x: Tensor, step: Tensor, gradient: Tensor, bounds: tuple[int, int]
    ) -> Gradients | None:
        """The gradients of `x` and of the steps, for what `uniform` gave, or None.

        Parameters
        ----------
        x, step, bounds
            As they were given to `uniform`.
        gradient : float32 tensor
            The gradient of what it gave.
        """
        if not _lie_alike(gradient, x):
            return None
        to_x, to_step = torch.empty_like(gradient), torch.empty_like(step)
        given = _rows(x), _scales(step), _rows(gradient)
        threads = torch.get_num_threads()
        fake_quantize.uniform_gradients(*given, bounds, threads, _rows(to_x), _scales(to_step))
        return to_x, to_step

    def to_levels(self, w: Tensor, alpha: Tensor, table: LevelTable) -> Tensor | None:
        """The nearest level of ``w / alpha`` times alpha, or None."""
        if len(table.values) > _MOST_LEVELS or not _are_rows(w, alpha):
            return None
        out, threads = torch.empty_like(w), torch.get_num_threads()
        levels, midpoints = table.values.numpy(), table.midpoints.numpy()
        given = _rows(w), _scales(alpha), levels, midpoints
        fake_quantize.round_to_levels(*given, threads, _rows(out))
        return out

    def level_gradients(
        self,
        w: Tensor,
        alpha: Tensor,
        rounded: Tensor,
        gradient: Tensor,
        bounds: tuple[float, float],
    ) -> Gradients | None:
        """The gradients of `w` and alpha, for what `to_levels` gave, or None.

        Parameters
        ----------
        w, alpha
            As they were given to `to_levels`.
        rounded, gradient : float32 tensors
            What it gave, and the gradient of that.
        bounds : tuple of float
            The outermost levels.
        """
        if not _lie_alike(gradient, w):
            return None
        to_w, to_alpha = torch.empty_like(gradient), torch.empty_like(alpha)
        given = _rows(w), _scales(alpha), _rows(rounded), _rows(gradient)
        threads = torch.get_num_threads()
        fake_quantize.level_gradients(*given, bounds, threads, _rows(to_w), _scales(to_alpha))
        return to_w, to_alpha


def _are_rows(x: Tensor, scale: Tensor) -> bool:
    """Whether both are float32 on a CPU, and rows of one scale lie in memory without gaps."""
    if x.dtype != torch.float32 or scale.dtype != torch.float32 or not x.is_cpu or not x.numel():
        return False
    if scale.dim() and not (scale.dim() == x.dim() and scale.numel() == len(scale) == len(x)):
        return False
    return x.is_contiguous() or _is_channels_last(x)


def _lie_alike(gradient: Tensor, x: Tensor) -> bool:
    return gradient.dtype == x.dtype and gradient.stride() == x.stride()


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _rows(x: Tensor) -> Floats:
    """The values in memory's order; ``(N, elements / N)``."""
    values: Floats = x.detach().numpy()
    if not x.is_contiguous():
        values = values.transpose(0, 2, 3, 1)
    return values.reshape(len(values), -1)


def _scales(scale: Tensor) -> Floats:
    scales: Floats = scale.detach().numpy()
    return scales.reshape(-1)
