"""Compiled loops for rounding, where something above the trainer has brought them.

The trainer is complete without: its own operations run on every device and in every type.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asq_hw.train.quantizers.levels import LevelTable

__all__ = [
    "RoundingLoops",
    "level_gradients",
    "rounded",
    "rounded_to_levels",
    "uniform_gradients",
    "use",
]

_MOST_LEVELS = 64
"""Levels beyond which looking a cell up is faster than comparing with every midpoint."""
Floats = NDArray[np.float32]
Gradients = tuple[Tensor, Tensor]


class RoundingLoops(Protocol):
    """Work on rows of float32 numbers, each with its scale or all with one.

    Arrays are C-contiguous: ``(rows, columns)``, scales and their gradients ``(rows,)`` or
    ``(1,)``. Those that come last are filled.
    """

    def round(
        self, x: Floats, steps: Floats, bounds: tuple[int, int], threads: int, out: Floats
    ) -> None:
        """What `asq_hw.train.quantizers.functions.round_uniform` returns."""

    def gradients(
        self,
        x: Floats,
        steps: Floats,
        gradient: Floats,
        bounds: tuple[int, int],
        threads: int,
        to_x: Floats,
        to_steps: Floats,
    ) -> None:
        """Its gradients."""

    def round_to_levels(
        self,
        x: Floats,
        alphas: Floats,
        levels: Floats,
        midpoints: Floats,
        threads: int,
        out: Floats,
    ) -> None:
        """What `asq_hw.train.quantizers.functions.round_to_levels` returns."""

    def level_gradients(
        self,
        x: Floats,
        alphas: Floats,
        rounded: Floats,
        gradient: Floats,
        bounds: tuple[float, float],
        threads: int,
        to_x: Floats,
        to_alphas: Floats,
    ) -> None:
        """Its gradients."""


_loops: RoundingLoops | None = None


@contextmanager
def use(loops: RoundingLoops | None) -> Iterator[None]:
    """Round with these loops wherever they apply; with None, nowhere."""
    global _loops
    before, _loops = _loops, loops
    try:
        yield
    finally:
        _loops = before


def rounded(x: Tensor, step: Tensor, bounds: tuple[int, int]) -> Tensor | None:
    """Return ``clip(round(x / step), minimum, maximum) * step``; None where no loop applies."""
    if _loops is None or not _are_rows(x, step):
        return None
    out = torch.empty_like(x)
    _loops.round(_rows(x), _scales(step), bounds, torch.get_num_threads(), _rows(out))
    return out


def uniform_gradients(
    x: Tensor, step: Tensor, gradient: Tensor, bounds: tuple[int, int]
) -> Gradients | None:
    """Return the gradients of `x` and of the steps, for what `rounded` gave, or None."""
    if _loops is None or not _lie_alike(gradient, x):
        return None
    to_x, to_step = torch.empty_like(gradient), torch.empty_like(step)
    given = _rows(x), _scales(step), _rows(gradient)
    _loops.gradients(*given, bounds, torch.get_num_threads(), _rows(to_x), _scales(to_step))
    return to_x, to_step


def rounded_to_levels(w: Tensor, alpha: Tensor, table: LevelTable) -> Tensor | None:
    """Return the nearest level of ``w / alpha`` times alpha, or None."""
    if _loops is None or len(table.values) > _MOST_LEVELS or not _are_rows(w, alpha):
        return None
    out, threads = torch.empty_like(w), torch.get_num_threads()
    levels, midpoints = table.values.numpy(), table.midpoints.numpy()
    _loops.round_to_levels(_rows(w), _scales(alpha), levels, midpoints, threads, _rows(out))
    return out


def level_gradients(
    w: Tensor, alpha: Tensor, rounded: Tensor, gradient: Tensor, bounds: tuple[float, float]
) -> Gradients | None:
    """Return the gradients of `w` and alpha, for what `rounded_to_levels` gave, or None."""
    if _loops is None or not _lie_alike(gradient, w):
        return None
    to_w, to_alpha = torch.empty_like(gradient), torch.empty_like(alpha)
    given = _rows(w), _scales(alpha), _rows(rounded), _rows(gradient)
    threads = torch.get_num_threads()
    _loops.level_gradients(*given, bounds, threads, _rows(to_w), _scales(to_alpha))
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
