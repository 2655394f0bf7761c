"""Fake quantization in one pass forward and one backward, on a CPU.

Made of PyTorch's operations, rounding a feature map and its gradients takes a dozen passes, and
a map leaves the core's cache between them. Here everything is an array: rows of float32 numbers,
each with its scale or all with one, C-contiguous; functions fill the arrays that come last.

Rounded values and the gradients of inputs are the same bits as PyTorch's. A scale's gradient is a
sum, and here in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import cached, compile_aside, jit

__all__ = [
    "compile_loops",
    "level_gradients",
    "round_to_levels",
    "round_uniform",
    "uniform_gradients",
]

_RUN = 1024
"""Terms that are added in float32 before their sum joins one in float64."""
_WORTH_A_THREAD = 1 << 17
"""Elements that take longer than handing them to another thread."""
Floats = NDArray[np.float32]

_loop = partial(cached, error_model="numpy")
_loop_of_sums = partial(_loop, fastmath={"reassoc"})
"""Sums may be added in any order, as vectors do; no other result may change."""


def compile_loops() -> None:
    """Compile every loop, or find it in Numba's cache."""
    compile_aside(_call_each)


def _call_each() -> None:
    x, scales = np.ones((1, 1), np.float32), np.ones(1, np.float32)
    round_uniform(x, scales, (0, 1), 1, x)
    uniform_gradients(x, scales, x, (0, 1), 1, x, scales)
    round_to_levels(x, scales, np.ones(2, np.float32), scales, 1, x)
    level_gradients(x, scales, x, x, (0.0, 1.0), 1, x, scales)


def round_uniform(
    x: Floats, steps: Floats, bounds: tuple[int, int], threads: int, out: Floats
) -> None:
    """Round to integers times a step: ``clip(round(x / step), minimum, maximum) * step``.

    Parameters
    ----------
    x : float32 array of shape (rows, columns)
        What is rounded; a tie goes to the even integer.
    steps : float32 array of shape (rows,) or (1,)
        Positive.
    bounds : tuple of int
        The smallest and the largest integer.
    threads : int
        Threads that share the rows.
    out : float32 array of shape (rows, columns)
        Filled.
    """
    low, high = _real(bounds)

    def work(rows: slice) -> None:
        _round(x[rows], _own(steps, rows), low, high, out[rows])

    _share(work, x, threads)


def uniform_gradients(
    x: Floats,
    steps: Floats,
    gradient: Floats,
    bounds: tuple[int, int],
    threads: int,
    to_x: Floats,
    to_steps: Floats,
) -> None:
    """Compute the gradients of `round_uniform` (paper, Eq. 7).

    Parameters
    ----------
    x, steps, bounds, threads
        As they were given to `round_uniform`.
    gradient : float32 array of shape (rows, columns)
        The gradient of what it gave.
    to_x : float32 array of shape (rows, columns)
        Filled with the gradient of `x`.
    to_steps : float32 array of shape (rows,) or (1,)
        Filled with that of `steps`.
    """
    low, high = _real(bounds)

    def work(rows: slice, to_own: Floats) -> None:
        given = x[rows], _own(steps, rows), gradient[rows]
        _gradients(*given, low, high, to_x[rows], to_own)

    _share_sums(work, x, threads, to_steps)


def round_to_levels(
    x: Floats, alphas: Floats, levels: Floats, midpoints: Floats, threads: int, out: Floats
) -> None:
    """Round to the nearest level of ``x / alpha``, times alpha; a tie goes to the lower level.

    Parameters
    ----------
    x : float32 array of shape (rows, columns)
        What is rounded.
    alphas : float32 array of shape (rows,) or (1,)
        Positive.
    levels : float32 array of shape (L,)
        Ascending.
    midpoints : float32 array of shape (L - 1,)
        What lies halfway between neighboring levels.
    threads : int
        Threads that share the rows.
    out : float32 array of shape (rows, columns)
        Filled.
    """

    def work(rows: slice) -> None:
        _round_to_levels(x[rows], _own(alphas, rows), levels, midpoints, out[rows])

    _share(work, x, threads)


def level_gradients(
    x: Floats,
    alphas: Floats,
    rounded: Floats,
    gradient: Floats,
    bounds: tuple[float, float],
    threads: int,
    to_x: Floats,
    to_alphas: Floats,
) -> None:
    """Compute the gradients of `round_to_levels`.

    Parameters
    ----------
    x, alphas, threads
        As they were given to `round_to_levels`.
    rounded, gradient : float32 arrays of shape (rows, columns)
        What it gave, and the gradient of that.
    bounds : tuple of float
        The outermost levels.
    to_x : float32 array of shape (rows, columns)
        Filled with the gradient of `x`.
    to_alphas : float32 array of shape (rows,) or (1,)
        Filled with that of `alphas`.
    """
    low, high = _real(bounds)

    def work(rows: slice, to_own: Floats) -> None:
        given = x[rows], _own(alphas, rows), rounded[rows], gradient[rows]
        _level_gradients(*given, low, high, to_x[rows], to_own)

    _share_sums(work, x, threads, to_alphas)


def _real(bounds: tuple[float, float]) -> tuple[np.float32, np.float32]:
    return np.float32(bounds[0]), np.float32(bounds[1])


def _own(scales: Floats, rows: slice) -> Floats:
    return scales if len(scales) == 1 else scales[rows]


def _share(work: Callable[[slice], None], x: Floats, threads: int) -> None:
    """Do the work on all rows, a part of them in each thread."""
    parts = _parts(x, threads)
    if len(parts) == 1:
        work(parts[0])
        return
    for done in [_pool(threads).submit(work, rows) for rows in parts]:
        done.result()


def _share_sums(
    work: Callable[[slice, Floats], None], x: Floats, threads: int, sums: Floats
) -> None:
    """Likewise, with what a part adds to each of `sums`, or to the only one."""
    parts = _parts(x, threads)
    if len(sums) > 1 or len(parts) == 1:
        _share(lambda rows: work(rows, _own(sums, rows)), x, threads)
        return
    shares = np.empty((len(parts), 1), np.float32)
    begun = zip(parts, shares, strict=True)
    for done in [_pool(threads).submit(work, rows, share) for rows, share in begun]:
        done.result()
    sums[:] = shares.sum(axis=0)


def _parts(x: Floats, threads: int) -> list[slice]:
    count = min(threads, len(x), max(1, x.size // _WORTH_A_THREAD))
    edges = [len(x) * part // count for part in range(count + 1)]
    return [slice(*pair) for pair in pairwise(edges)]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


@_loop
def _round(x: Floats, steps: Floats, low: Any, high: Any, out: Floats) -> None:
    for row in range(x.shape[0]):
        step, values, result = steps[row % len(steps)], x[row], out[row]
        for i in range(len(values)):
            result[i] = _clipped(np.rint(values[i] / step), low, high) * step


@_loop_of_sums
def _gradients(
    x: Floats, steps: Floats, gradient: Floats, low: Any, high: Any, to_x: Floats, to_steps: Floats
) -> None:
    whole = np.float64(0)
    for row in range(x.shape[0]):
        step, total = steps[row % len(steps)], np.float64(0)
        for first in range(0, x.shape[1], _RUN):
            # Slices: indices that start at 0 are what LLVM makes vectors of.
            run = slice(first, first + _RUN)
            values, upstream, inner = x[row, run], gradient[row, run], to_x[row, run]
            part = np.float32(0)
            for i in range(len(values)):
                ratio = values[i] / step
                inner[i] = _inside(ratio, low, high, upstream[i])
                part += _clipped(np.rint(ratio), low, high) * upstream[i] - ratio * inner[i]
            total += part
        whole += total
        to_steps[row % len(to_steps)] = total if len(to_steps) > 1 else whole


@_loop
def _round_to_levels(
    x: Floats, alphas: Floats, levels: Floats, midpoints: Floats, out: Floats
) -> None:
    ratio = np.empty(_RUN, np.float32)
    for row in range(x.shape[0]):
        alpha = alphas[row % len(alphas)]
        for first in range(0, x.shape[1], _RUN):
            run = slice(first, first + _RUN)
            values, nearest = x[row, run], out[row, run]
            for i in range(len(values)):
                ratio[i] = values[i] / alpha
                nearest[i] = levels[0]
            # Comparing with every midpoint mispredicts no branch, and is done in vectors.
            for k in range(len(midpoints)):
                midpoint, level = midpoints[k], levels[k + 1]
                for i in range(len(values)):
                    nearest[i] = level if ratio[i] > midpoint else nearest[i]
            for i in range(len(values)):
                nearest[i] *= alpha


@_loop_of_sums
def _level_gradients(
    x: Floats,
    alphas: Floats,
    rounded: Floats,
    gradient: Floats,
    low: Any,
    high: Any,
    to_x: Floats,
    to_alphas: Floats,
) -> None:
    whole = np.float64(0)
    for row in range(x.shape[0]):
        alpha, total = alphas[row % len(alphas)], np.float64(0)
        for first in range(0, x.shape[1], _RUN):
            run = slice(first, first + _RUN)
            values, levels = x[row, run], rounded[row, run]
            upstream, inner = gradient[row, run], to_x[row, run]
            part = np.float32(0)
            for i in range(len(values)):
                inner[i] = _inside(values[i] / alpha, low, high, upstream[i])
                part += upstream[i] * levels[i] - inner[i] * values[i]
            total += part / alpha
        whole += total
        to_alphas[row % len(to_alphas)] = total if len(to_alphas) > 1 else whole


@jit
def _clipped(value: Any, low: Any, high: Any) -> Any:
    """The value within the bounds; what is not a number stays so."""
    value = low if value < low else value
    return high if value > high else value


@jit
def _inside(ratio: Any, low: Any, high: Any, upstream: Any) -> Any:
    """The gradient that passes; none where the ratio is not a number."""
    return upstream if (ratio >= low) & (ratio <= high) else np.float32(0)
