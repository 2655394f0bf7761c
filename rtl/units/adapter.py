"""The adapter as a kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rtl.quantizer.adapter import Adapter
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.serial_adapter import SerialAdapter
from rtl.units.option import Given, Option
from rtl.units.unit import LayerUse, NetworkUnit
from rtl.verify.met import Integers, Met, Traced, rounded

__all__ = ["ADAPTER"]

_ARRANGEMENTS: Mapping[str, type[Adapter]] = {"parallel": Adapter, "serial": SerialAdapter}
_ARRANGEMENT = Option(
    name="arrangement",
    flags=("--arrangement",),
    type=str,
    metavar="|".join(_ARRANGEMENTS),
    choices=tuple(_ARRANGEMENTS),
    default="parallel",
    help="A multiplier for each output of the first stage, or one for all weights, which takes a "
    "mean in as many cycles.",
)
_MEAN_BITS = Option(
    name="mean_bits",
    flags=("--mean-bits",),
    help="Width of a mean, at least what the layer's means need, which is the default.",
)


_DRAWN = 20_000
"""Means that are drawn, about."""


class _AdapterUnit(NetworkUnit):
    """Channel means to a step."""

    name = "adapter"
    title = "the adapter of a network's layer"
    purpose = "channel means to a step"
    options = (_ARRANGEMENT, _MEAN_BITS)
    examples = (
        "asq-hw rtl adapter -o build/adapter",
        "asq-hw verify adapter --method cosim --cycles 20000",
        "asq-hw synth adapter --target ecp5",
    )
    layer = LayerUse.ALWAYS
    is_adaptive = True

    def design(self, given: Given, layer: LayerUnits | None = None) -> Adapter:
        """The layer's adapter."""
        assert layer is not None, "an adapter is always a layer's"
        return layer.adapter(_ARRANGEMENTS[given["arrangement"]], mean_bits=given["mean_bits"])

    def meets(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """Whole samples: traced ones, and those that bring the first stage's sums to their ends."""
        step, features = units.adaptive_step, traced.features
        means = rounded(features.sum(axis=(2, 3)), step.pool_multiplier, step.pool_shift)
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


ADAPTER = _AdapterUnit()
