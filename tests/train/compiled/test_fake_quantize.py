"""The compiled loops for fake quantization, by hand and against NumPy."""

import numpy as np
import pytest
from numba.core.errors import TypingError
from numpy.typing import NDArray

from asq_hw.train.compiled.fake_quantize import (
    level_gradients,
    round_to_levels,
    round_uniform,
    uniform_gradients,
)

Floats = NDArray[np.float32]


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def drawn(*shape: int, seed: int = 3) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Floats:
    return np.abs(drawn(*shape, seed=5)) * 0.1 + np.float32(0.1)


def nothing_like(*arrays: Floats) -> tuple[Floats, ...]:
    return tuple(np.full_like(array, np.nan) for array in arrays)


def test_rounding_by_hand() -> None:
    """Step 1/2, integers 0..3; a tie goes to the even one."""
    x = floats(-0.3, 0.25, 0.75, 1.4, 9, np.nan, np.inf, -np.inf)[None]
    (out,) = nothing_like(x)
    round_uniform(x, floats(0.5), (0, 3), 1, out)
    np.testing.assert_array_equal(out[0], floats(0, 0, 1, 1.5, 1.5, np.nan, 1.5, 0))


def test_gradients_by_hand() -> None:
    """The ratios are -0.6, 0, 0.6, 1.5, 2.8, 3 and 4; d/ds is 0, 0, 0.4, 0.5, 0.2, 0 and 3."""
    x = floats(-0.3, 0, 0.3, 0.75, 1.4, 1.5, 2)[None]
    gradient = floats(1, 5, 10, 100, 1000, 5000, 10000)[None]
    to_x, to_step = nothing_like(x, floats(0))
    uniform_gradients(x, floats(0.5), gradient, (0, 3), 1, to_x, to_step)
    np.testing.assert_array_equal(to_x[0], floats(0, 5, 10, 100, 1000, 5000, 0))
    np.testing.assert_allclose(to_step, 0 + 4 + 50 + 200 + 30000, rtol=1e-6)


def test_levels_by_hand() -> None:
    """Alpha 2 on the levels -1, -1/2, 0, 1/2, 1; 0.5 is a tie and goes down."""
    levels, midpoints = floats(-1, -0.5, 0, 0.5, 1), floats(-0.75, -0.25, 0.25, 0.75)
    w, gradient = floats(-3, -1.2, 0.1, 0.5, 1.9)[None], floats(1, 10, 100, 1000, 10000)[None]
    out, to_w, to_alpha = nothing_like(w, w, floats(0))
    round_to_levels(w, floats(2), levels, midpoints, 1, out)
    np.testing.assert_array_equal(out[0], floats(-2, -1, 0, 0, 2))
    level_gradients(w, floats(2), out, gradient, (-1.0, 1.0), 1, to_w, to_alpha)
    np.testing.assert_array_equal(to_w[0], floats(0, 10, 100, 1000, 10000))
    np.testing.assert_allclose(to_alpha, -1 + 1 - 5 - 250 + 500, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("scales", [1, 7])
@pytest.mark.parametrize("columns", [1, 1023, 1024, 30_001])
def test_rows_are_whole_for_any_number_of_threads(threads: int, scales: int, columns: int) -> None:
    """Sums run over every column once, whatever part of the rows a thread has."""
    x, steps, gradient = drawn(7, columns), positive(scales), drawn(7, columns, seed=7)
    out, to_x, to_steps = nothing_like(x, x, steps)
    round_uniform(x, steps, (-8, 7), threads, out)
    uniform_gradients(x, steps, gradient, (-8, 7), threads, to_x, to_steps)

    ratio = x / steps[:, None]
    codes = np.clip(np.rint(ratio), -8, 7)
    inside = (ratio >= -8) & (ratio <= 7)
    terms = gradient * np.where(inside, codes - ratio.astype(np.float64), codes)
    np.testing.assert_array_equal(out, codes * steps[:, None])
    np.testing.assert_array_equal(to_x, np.where(inside, gradient, np.float32(0)))
    sums = terms.sum(axis=1) if scales > 1 else terms.sum(keepdims=True)[0]
    np.testing.assert_allclose(to_steps, sums, rtol=1e-5, atol=1e-5 * np.abs(terms).sum() ** 0.5)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("scales", [1, 7])
def test_levels_of_many_rows(threads: int, scales: int) -> None:
    levels = np.sort(drawn(15, seed=11))
    midpoints = ((levels[1:].astype(np.float64) + levels[:-1]) / 2).astype(np.float32)
    w, alphas, gradient = drawn(7, 30_001), 4 * positive(scales), drawn(7, 30_001, seed=7)
    out, to_w, to_alphas = nothing_like(w, w, alphas)
    bounds = float(levels[0]), float(levels[-1])
    round_to_levels(w, alphas, levels, midpoints, threads, out)
    level_gradients(w, alphas, out, gradient, bounds, threads, to_w, to_alphas)

    ratio = w / alphas[:, None]
    nearest = levels[np.searchsorted(midpoints, ratio)]
    inside = (ratio >= bounds[0]) & (ratio <= bounds[1])
    terms = gradient * np.where(inside, nearest - ratio.astype(np.float64), nearest)
    np.testing.assert_array_equal(out, nearest * alphas[:, None])
    np.testing.assert_array_equal(to_w, np.where(inside, gradient, np.float32(0)))
    sums = terms.sum(axis=1) if scales > 1 else terms.sum(keepdims=True)[0]
    np.testing.assert_allclose(to_alphas, sums, rtol=1e-5, atol=1e-5 * np.abs(terms).sum() ** 0.5)


def test_an_error_in_a_thread_is_raised() -> None:
    x = drawn(2, 1 << 17)
    with pytest.raises(TypingError):
        round_uniform(x, floats(0.5), (0, 3), 2, x[0])
