"""What a run tells about each layer; the same for any batch size, thread count and kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.fixedpoint import signed_width
from asq_hw.numbers.products import Product
from asq_hw.sim.program import Statistic

__all__ = ["LayerStatistics", "StepSizes", "empty_statistics", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSizes:
    """Real step sizes of a layer's activations, in units of the network's real values."""

    minimum: float
    mean: float
    maximum: float
    adaptive: bool
    """Whether they were computed for every sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatistics:
    """One layer over a whole run.

    Attributes
    ----------
    name, kind : str
        The layer; kind as in a model file.
    macs : int
        Multiply-accumulates of one image.
    accumulator_bits : int or None
        Width that every accumulator fits for all inputs, by the layer's bounds.
    accumulator_bits_used : int or None
        Width that this run's final sums needed.
    saturated : int
        Outputs that did not fit the feature map's bits.
    clipped : int or None
        Activation codes that were clipped to Qn or Qp.
    ties : int or None
        Activations in the middle between two codes.
    step_size : StepSizes or None
        Steps of the quantizer in front of the layer.
    """

    name: str
    kind: str
    macs: int
    accumulator_bits: int | None
    accumulator_bits_used: int | None
    saturated: int
    clipped: int | None
    ties: int | None
    step_size: StepSizes | None


def empty_statistics(samples: int, layers: int) -> NDArray[np.int64]:
    """What the kernels count in, (samples, layers, len(Statistic))."""
    counts = np.zeros((samples, layers, len(Statistic)), dtype=np.int64)
    counts[..., Statistic.SMALLEST] = np.iinfo(np.int64).max
    counts[..., Statistic.LARGEST] = np.iinfo(np.int64).min
    return counts


def summarize(
    network: IntegerNetwork, product: Product, counts: NDArray[np.int64]
) -> tuple[LayerStatistics, ...]:
    """Every layer's statistics from the counts of all samples."""
    maps, macs = network.feature_maps(), network.macs()
    return tuple(
        _weighted(layer, maps[layer.source], product, macs[layer.name], counts[:, number])
        if isinstance(layer, Conv | Linear)
        else LayerStatistics(
            name=layer.name,
            kind=layer.kind,
            macs=0,
            accumulator_bits=None,
            accumulator_bits_used=None,
            saturated=int(counts[:, number, Statistic.SATURATED].sum()),
            clipped=None,
            ties=None,
            step_size=None,
        )
        for number, layer in enumerate(network.layers)
    )


def _weighted(
    layer: Conv | Linear,
    source: FeatureMap,
    product: Product,
    macs: int,
    counts: NDArray[np.int64],
) -> LayerStatistics:
    smallest = int(counts[:, Statistic.SMALLEST].min())
    largest = int(counts[:, Statistic.LARGEST].max())
    totals = counts.sum(axis=0)
    return LayerStatistics(
        name=layer.name,
        kind=layer.kind,
        macs=macs,
        accumulator_bits=layer.accumulator_bits(product),
        accumulator_bits_used=signed_width(smallest, largest),
        saturated=int(totals[Statistic.SATURATED]),
        clipped=int(totals[Statistic.CLIPPED]),
        ties=int(totals[Statistic.TIES]),
        step_size=_step_sizes(layer, source, counts[:, Statistic.STEP_SIZE]),
    )


def _step_sizes(layer: Conv | Linear, source: FeatureMap, steps: NDArray[np.int64]) -> StepSizes:
    unit = 2.0 ** -(layer.quantizer.step_fraction_bits + source.format.fraction_bits)
    return StepSizes(
        minimum=int(steps.min()) * unit,
        # The sum is exact, so that no order of samples can change the mean.
        mean=int(steps.sum()) / steps.size * unit,
        maximum=int(steps.max()) * unit,
        adaptive=not layer.quantizer.has_fixed_step,
    )
