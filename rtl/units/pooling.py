"""The pooling accumulator as a kind."""

from __future__ import annotations

import numpy as np

from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.pooling import MAX_ELEMENTS, MAX_MULTIPLIER, PoolingAccumulator
from rtl.units.features import FEATURE_BITS, shift_of, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import LayerUse, NetworkUnit
from rtl.verify.met import Met, Traced, rounded

__all__ = ["POOLING"]

_ELEMENTS = Option(
    name="elements",
    flags=("--elements",),
    help=f"Most features of a channel, 1 to {MAX_ELEMENTS}; default: "
    f"{default_of(PoolingAccumulator, 'elements')}, or the layer's.",
)
_MULTIPLIER = Option(
    name="multiplier",
    flags=("--multiplier",),
    metavar="M",
    help=f"Of the sum, 1 to {MAX_MULTIPLIER}; default: "
    f"{default_of(PoolingAccumulator, 'multiplier')}, or the layer's.",
)


_CHANNELS = 400
"""Channels of a network that one is given, at most."""


class _PoolingUnit(NetworkUnit):
    """Features to the mean of their channel."""

    name = "pooling"
    title = "a pooling accumulator"
    purpose = "features to the mean of their channel"
    options = (FEATURE_BITS, _ELEMENTS, _MULTIPLIER, shift_of(PoolingAccumulator))
    examples = (
        "asq-hw rtl pooling --elements 49 --multiplier 1337 -o build/pooling",
        "asq-hw verify pooling --method formal",
        "asq-hw synth pooling --elements 49 --target gates",
    )
    layer = LayerUse.OPTIONAL
    is_adaptive = True

    def design(self, given: Given, layer: LayerUnits | None = None) -> PoolingAccumulator:
        """The pooling accumulator of a layer, or the one that the options describe."""
        return PoolingAccumulator(**stated(given)) if layer is None else layer.pooling(**given)

    def meets(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """Whole channels: traced ones, and those that hold one end throughout."""
        step, features = units.adaptive_step, traced.features
        size = features.shape[2] * features.shape[3]
        half = 1 << (units.source.format.bits - 1)
        channels = features.reshape(-1, size)
        met = traced.extent.of(len(channels), _CHANNELS)
        chosen = channels[random.permutation(len(channels))[:met]]
        ends = np.repeat([[-half], [half - 1]], size, axis=1)
        drawn = random.integers(-half, half, (8, size))
        rows = np.concatenate([chosen, ends, drawn])
        last = np.zeros(rows.shape, dtype=np.int64)
        last[:, -1] = 1
        expected = np.zeros(rows.shape, dtype=np.int64)
        expected[:, -1] = rounded(rows.sum(axis=1), step.pool_multiplier, step.pool_shift)
        return Met(
            rows={"last": last.reshape(-1), "feature": rows.reshape(-1)},
            expected=expected.reshape(-1),
            known=last.reshape(-1) == 1,
        )


POOLING = _PoolingUnit()
