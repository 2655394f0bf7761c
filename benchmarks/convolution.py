"""One convolution layer, 3 x 3, 128 to 128 channels, 28 x 28, beside general fixed-point tools.

All give the layer's exact outputs from the same activation codes. APyTypes and fxpmath multiply
matrices of windows and weights, even and odd parts, and requantize with their own casts. APyTypes
does that in two ways: with sums as wide as needed, and with accumulators of the width that the
hardware has, which is what it offers `APyFixedAccumulatorContext` for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.network.activation import ActivationQuantizer, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Flatten, Input
from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import SPLIT_FRACTION_BITS, Product
from asq_hw.numbers.schemes import POST, UNIFORM
from asq_hw.sim import profile_layers, simulate
from benchmarks.timing import Section

__all__ = ["compare", "layer"]

_CHANNELS, _SIZE, _BITS = 128, 28, 4
_STEP, _SHIFT = 16, 16
_FEATURES = FeatureFormat(bits=16, fraction_bits=8)
_SIMULATED_IMAGES = 64
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """The layer as matrices: outputs are made of ``codes @ even`` and ``codes @ odd``."""

    network: IntegerNetwork
    images: NDArray[np.uint8]
    codes: Integers
    even: Integers
    odd: Integers
    multiplier: Integers
    bias: Integers
    accumulator_bits: int


def compare() -> Section:
    """Time every tool that is installed, and check that all outputs are equal."""
    problem = _draw()
    expected = oracle.run(problem.network, problem.images[:1])["conv"][0]
    wanted = expected.reshape(_CHANNELS, -1).T
    tools: dict[str, Callable[[_Problem], tuple[float, Integers]]] = {
        "simulator": _simulate,
        "APyTypes, exact sums": lambda made: _apytypes(made, exact=True),
        "APyTypes, accumulators as wide as the hardware's": lambda made: _apytypes(
            made, exact=False
        ),
        "fxpmath": _fxpmath,
        "oracle": _judge,
    }
    rows: list[dict[str, Any]] = []
    ours: float | None = None
    for name, run in tools.items():
        try:
            seconds, outputs = run(problem)
        except ModuleNotFoundError as error:
            rows.append({"tool": name, "equal": f"not installed: {error.name}"})
            continue
        ours = seconds if ours is None else ours
        rows.append(
            {
                "tool": name,
                "seconds": seconds,
                # What is so small that it takes no time, within what can be measured, has no ratio.
                "times the simulator's": seconds / ours if ours else None,
                "equal": "yes" if np.array_equal(outputs, wanted) else "NO",
            }
        )
    return Section(
        title="One convolution layer: 3 x 3, 128 to 128 channels, 28 x 28, POST W4A4, one thread",
        rows=rows,
    )


def layer() -> tuple[IntegerNetwork, NDArray[np.uint8]]:
    """A network with this layer, named ``conv``, and images for it."""
    problem = _draw()
    return problem.network, problem.images


def _draw() -> _Problem:
    rng = np.random.default_rng(0)
    grid = Grid(scheme=POST, bits=_BITS)
    codes = rng.choice([level.code for level in grid.levels], (_CHANNELS, _CHANNELS, 3, 3))
    activations = Grid(scheme=UNIFORM, bits=_BITS, signed=False)
    conv = Conv(
        name="conv",
        source="input",
        quantizer=ActivationQuantizer(
            grid=activations, step=FixedStep(step=_STEP), step_fraction_bits=0
        ),
        weight_grid=grid,
        weight_codes=codes.astype(np.uint16),
        multiplier=rng.integers(500, 2000, _CHANNELS),
        bias=rng.integers(-1000, 1000, _CHANNELS),
        narrow_shift=0,
        shift=_SHIFT,
        output=_FEATURES,
        padding=(1, 1),
    )
    first = Input(
        name="input",
        height=_SIZE,
        width=_SIZE,
        multiplier=np.ones(_CHANNELS, dtype=np.int64),
        offset=np.zeros(_CHANNELS, dtype=np.int64),
        shift=0,
        output=_FEATURES,
    )
    images = rng.integers(0, 256, (_SIMULATED_IMAGES, _CHANNELS, _SIZE, _SIZE)).astype(np.uint8)
    even, odd = (part.reshape(_CHANNELS, -1).T for part in conv.decoded_weights())
    return _Problem(
        network=IntegerNetwork(
            name="layer", layers=(first, conv, Flatten(name="scores", source="conv"))
        ),
        images=images,
        codes=_windows(images[0]),
        even=even.astype(np.int64),
        odd=odd.astype(np.int64),
        multiplier=_STEP * conv.multiplier,
        bias=conv.bias,
        accumulator_bits=conv.accumulator_bits(Product()),
    )


def _windows(image: NDArray[np.uint8]) -> Integers:
    """Codes of every output pixel's window, (pixels, channels * 9)."""
    codes = np.minimum((2 * image.astype(np.int64) + _STEP) // (2 * _STEP), 2**_BITS - 1)
    padded = np.pad(codes, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.ascontiguousarray(windows.transpose(1, 2, 0, 3, 4).reshape(_SIZE * _SIZE, -1))


def _simulate(problem: _Problem) -> tuple[float, Integers]:
    """The layer alone is timed, its quantizer included."""
    seconds = profile_layers(problem.network, problem.images)["conv"]
    scores = simulate(problem.network, problem.images[:1], threads=1).scores
    return seconds, scores.reshape(_CHANNELS, -1).T


def _judge(problem: _Problem) -> tuple[float, Integers]:
    start = time.perf_counter()
    outputs = oracle.run(problem.network, problem.images[:1])["conv"][0]
    return time.perf_counter() - start, outputs.reshape(_CHANNELS, -1).T


def _apytypes(problem: _Problem, *, exact: bool) -> tuple[float, Integers]:
    from contextlib import nullcontext

    from apytypes import (
        APyFixedAccumulatorContext,
        APyFixedArray,
        OverflowMode,
        QuantizationMode,
    )

    def make(values: Any, integer_bits: int, fraction_bits: int = 0) -> Any:
        return APyFixedArray.from_array(
            np.array(values), int_bits=integer_bits, frac_bits=fraction_bits
        )

    codes = make(problem.codes, _BITS + 1)
    even, odd = make(problem.even, 8), make(problem.odd, 8)
    root = make([SQRT2_MULTIPLIER / 2**SQRT2_FRACTION_BITS], 2, SQRT2_FRACTION_BITS)
    scale = make(problem.multiplier / 2**_SHIFT, 2, _SHIFT)
    bias = make(problem.bias, 16)
    width = APyFixedAccumulatorContext(int_bits=problem.accumulator_bits, frac_bits=0)
    half_up = QuantizationMode.TIES_POS
    start = time.perf_counter()
    with nullcontext() if exact else width:
        evens, odds = codes @ even, codes @ odd
    total = evens + (odds * root).cast(frac_bits=SPLIT_FRACTION_BITS, quantization=half_up)
    scaled = (total * scale).cast(frac_bits=0, quantization=half_up)
    outputs = (scaled + bias).cast(int_bits=_FEATURES.bits, overflow=OverflowMode.SAT)
    return time.perf_counter() - start, outputs.to_numpy().astype(np.int64)


def _fxpmath(problem: _Problem) -> tuple[float, Integers]:
    from fxpmath import Fxp

    def make(values: Any, bits: int, fraction_bits: int = 0) -> Any:
        return Fxp(values, signed=True, n_word=bits, n_frac=fraction_bits)

    def half_up(value: Any, bits: int, fraction_bits: int) -> Any:
        # Of fxpmath's roundings `floor` is the one that, after half a unit, rounds halves up.
        moved = value + make(2.0 ** -(fraction_bits + 1), fraction_bits + 3, fraction_bits + 1)
        return Fxp(moved, signed=True, n_word=bits, n_frac=fraction_bits, rounding="floor")

    codes = make(problem.codes, _BITS + 1)
    even, odd = make(problem.even, 8), make(problem.odd, 8)
    root = make(SQRT2_MULTIPLIER / 2**SQRT2_FRACTION_BITS, 17, SQRT2_FRACTION_BITS)
    scale = make(problem.multiplier / 2**_SHIFT, 18, _SHIFT)
    bias = make(problem.bias, 16)
    start = time.perf_counter()
    evens, odds = codes.dot(even), codes.dot(odd)
    total = evens + half_up(odds * root, 32, SPLIT_FRACTION_BITS)
    scaled = half_up(total * scale, 32, 0)
    outputs = make((scaled + bias).get_val(), _FEATURES.bits)
    return time.perf_counter() - start, np.asarray(outputs.get_val()).astype(np.int64)
