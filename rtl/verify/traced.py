"""What a layer's units meet in their network: traced tensors, and the ends of what can come.

Expected values are the simulator's tensors (`asq_hw.sim`), wherever a traced tensor answers a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.small import load_bundled
from asq_hw.network.bounds import Range
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.fixedpoint import shift_right_half_up
from asq_hw.sim.engine import simulate
from asq_hw.sim.tensors import TraceBatch
from rtl.quantizer.of_layer import LayerUnits

__all__ = ["IMAGES", "Met", "images_for", "met_by"]

IMAGES = 100
"""Images that are traced."""

_PACKAGED = "fashion-mnist"
_FEATURES = 2048
"""Elements of one sample's feature map that a quantizer is given, at most."""
_CHANNELS = 400
"""Channels that a pooling accumulator is given, at most."""
_OUTPUTS = 40_000
"""Outputs that a requantizer is given, at most."""
_DRAWN = 20_000

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Met:
    """Operations for one unit, and what they must give.

    Attributes
    ----------
    rows : mapping of int64 (N,) arrays
        A value of each data input.
    expected : int64 (N,)
        The output; it counts where `known`.
    known : bool (N,)
        Where the simulator's tensors say what comes out.
    """

    rows: Mapping[str, Integers]
    expected: Integers
    known: NDArray[np.bool_]

    @property
    def traced(self) -> int:
        """Results that the simulator's tensors know."""
        return int(self.known.sum())


def images_for(network: IntegerNetwork, count: int = IMAGES) -> NDArray[np.uint8]:
    """Images that suit a network, uint8 (N, C, H, W): the packaged ones where it knows them.

    Others are drawn: noise of every brightness and contrast, black and white among them.
    """
    layer = network.input
    shape = (layer.channels, layer.height, layer.width)
    packaged = load_bundled("test").images
    if _PACKAGED in network.references and packaged.shape[1:] == shape:
        return np.asarray(packaged[:count])
    random = np.random.default_rng(6)
    centers = random.integers(0, 256, (count, 1, 1, 1))
    spreads = random.integers(0, 256, (count, 1, 1, 1))
    centers[:2, 0, 0, 0], spreads[:2] = (0, 255), 0
    noise = random.random((count, *shape)) - 0.5
    return np.clip(centers + noise * spreads, 0, 255).astype(np.uint8)


def met_by(unit: str, units: LayerUnits, images: NDArray[np.uint8]) -> Met:
    """What the unit of that kind meets: pooling, adapter, quantizer or requantizer."""
    makers = {
        "pooling": _pooling,
        "adapter": _adapter,
        "quantizer": _quantizer,
        "requantizer": _requantizer,
    }
    traced = _trace(units, images)
    return makers[unit](units, traced, np.random.default_rng(8))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Traced:
    """The layer's tensors, the sample first; `sums` are one accumulator or a pair."""

    features: Integers
    steps: Integers
    codes: Integers
    sums: tuple[Integers, ...]
    outputs: Integers


def _trace(units: LayerUnits, images: NDArray[np.uint8]) -> _Traced:
    name, parts = units.layer.name, ("even", "odd") if len(units.sums) == 2 else ("sum",)
    kinds = [f"{name}-{kind}" for kind in ("step", "codes", *parts)]
    wanted = [units.layer.source, *kinds, name]
    kept: dict[str, list[Integers]] = {each: [] for each in wanted}

    def keep(batch: TraceBatch) -> None:
        for each in wanted:
            kept[each].append(batch.tensors[each].astype(np.int64))

    simulate(units.network, images, product=units.product, trace=keep)
    features, steps, codes, *sums, outputs = (np.concatenate(kept[each]) for each in wanted)
    return _Traced(features=features, steps=steps, codes=codes, sums=tuple(sums), outputs=outputs)


def _pooling(units: LayerUnits, traced: _Traced, random: np.random.Generator) -> Met:
    """Whole channels: traced ones, and those that hold one end throughout."""
    step, features = units.adaptive_step, traced.features
    size = features.shape[2] * features.shape[3]
    half = 1 << (units.source.format.bits - 1)
    channels = features.reshape(-1, size)
    chosen = channels[random.permutation(len(channels))[:_CHANNELS]]
    ends = np.repeat([[-half], [half - 1]], size, axis=1)
    drawn = random.integers(-half, half, (8, size))
    rows = np.concatenate([chosen, ends, drawn])
    last = np.zeros(rows.shape, dtype=np.int64)
    last[:, -1] = 1
    expected = np.zeros(rows.shape, dtype=np.int64)
    expected[:, -1] = _rounded(rows.sum(axis=1), step.pool_multiplier, step.pool_shift)
    return Met(
        rows={"last": last.reshape(-1), "feature": rows.reshape(-1)},
        expected=expected.reshape(-1),
        known=last.reshape(-1) == 1,
    )


def _adapter(units: LayerUnits, traced: _Traced, random: np.random.Generator) -> Met:
    """Whole samples: traced ones, and those that bring each of the first stage's sums to an end."""
    step, features = units.adaptive_step, traced.features
    means = _rounded(features.sum(axis=(2, 3)), step.pool_multiplier, step.pool_shift)
    drawn = _extreme_means(units, random)
    rows = np.concatenate([means, drawn])
    expected, known = np.zeros(rows.shape, np.int64), np.zeros(rows.shape, np.bool_)
    expected[: len(means), -1], known[: len(means), -1] = traced.steps, True
    return Met(
        rows={"mean": rows.reshape(-1)}, expected=expected.reshape(-1), known=known.reshape(-1)
    )


def _extreme_means(units: LayerUnits, random: np.random.Generator) -> Integers:
    """Samples within the range of the means: at its ends, as the weights' signs choose, or drawn.

    Those that are drawn have many sizes, so that not every step stands at a limit.
    """
    bound, stages = units.means, units.adaptive_step.stages
    weights = stages[0].weight
    through = np.abs(stages[-1].weight) @ weights if len(stages) == 2 else weights
    signs = np.concatenate([weights, through, np.ones((1, weights.shape[1]), dtype=np.int64)])
    up = np.where(signs > 0, bound.high, bound.low)
    down = np.where(signs > 0, bound.low, bound.high)
    count = max(64, _DRAWN // weights.shape[1])
    drawn = random.integers(bound.low, bound.high, (count, weights.shape[1]), endpoint=True)
    return np.concatenate([up, down, drawn >> random.integers(0, bound.bits, (count, 1))])


def _quantizer(units: LayerUnits, traced: _Traced, random: np.random.Generator) -> Met:
    """Each sample's step and features; then the ends of the steps with those of the features."""
    features = traced.features.reshape(len(traced.features), -1)
    codes = traced.codes.reshape(features.shape)
    places = random.permutation(features.shape[1])[:_FEATURES]
    half = 1 << (units.source.format.bits - 1)
    bound = units.steps
    steps = np.array([bound.low, bound.high, *random.integers(bound.low, bound.high + 1, 6)])
    drawn = np.concatenate(
        [
            np.repeat([[-half, half - 1, -half + 1, half - 2, 0, -1]], len(steps), axis=0),
            random.integers(-half, half, (len(steps), 500)),
        ],
        axis=1,
    )
    parts = [
        _loaded(traced.steps, features[:, places], codes[:, places], known=True),
        _loaded(steps, drawn, np.zeros_like(drawn), known=False),
    ]
    load, step, feature, code, known = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    return Met(
        rows={"load": load, "step": step, "feature": feature},
        expected=code,
        known=known.astype(np.bool_),
    )


def _loaded(
    steps: Integers, features: Integers, codes: Integers, *, known: bool
) -> tuple[Integers, ...]:
    """Columns of a step and the features behind it, for each step in turn."""
    zeros = np.zeros((len(steps), 1), dtype=np.int64)
    load = np.concatenate([zeros + 1, np.zeros_like(features)], axis=1)
    step = np.repeat(steps.reshape(-1, 1), features.shape[1] + 1, axis=1)
    feature = np.concatenate([zeros, features], axis=1)
    code = np.concatenate([zeros, codes], axis=1)
    counts = np.where(load == 1, 0, int(known))
    return tuple(column.reshape(-1) for column in (load, step, feature, code, counts))


def _requantizer(units: LayerUnits, traced: _Traced, random: np.random.Generator) -> Met:
    """Traced sums of all channels, then the ends of sums and multipliers with the biases."""
    layer, outputs = units.layer, traced.outputs
    multipliers = np.array(
        [_rounded(layer.multiplier * step, 1, layer.narrow_shift) for step in traced.steps.tolist()]
    )
    chosen = random.permutation(outputs.size)[:_OUTPUTS]
    sample, channel = np.unravel_index(chosen, outputs.shape)[:2]
    sums = [values.reshape(-1)[chosen] for values in traced.sums]
    drawn = [_from(random, bound) for bound in (*units.sums, units.multipliers)]
    bias = layer.bias[random.integers(0, len(layer.bias), _DRAWN)]
    columns = [*sums, multipliers[sample, channel], layer.bias[channel]]
    names = ("even", "odd") if len(sums) == 2 else ("value",)
    rows = {
        name: np.concatenate([first, second])
        for name, first, second in zip(
            (*names, "multiplier", "bias"), columns, [*drawn, bias], strict=True
        )
    }
    nothing = np.zeros(_DRAWN, dtype=np.int64)
    return Met(
        rows=rows,
        expected=np.concatenate([outputs.reshape(-1)[chosen], nothing]),
        known=np.arange(len(chosen) + _DRAWN) < len(chosen),
    )


def _from(random: np.random.Generator, bound: Range) -> Integers:
    """Integers of a range: one in two is an end."""
    ends = random.choice([bound.low, bound.high], _DRAWN)
    drawn = random.integers(bound.low, bound.high, _DRAWN, endpoint=True)
    return np.where(random.random(_DRAWN) < 0.5, ends, drawn)


def _rounded(values: Integers, multiplier: int, shift: int) -> Integers:
    """``rshift(multiplier * values, shift)`` on unbounded integers."""
    flat = values.reshape(-1).tolist()
    exact = [shift_right_half_up(value * multiplier, shift) for value in flat]
    return np.array(exact, dtype=np.int64).reshape(values.shape)
