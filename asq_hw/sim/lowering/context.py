"""What the records of a network's layers are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers import Relu
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.products import Product
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.lowering.memory_plan import Layout
from asq_hw.sim.lowering.packing import PackedWeights
from asq_hw.sim.lowering.tables import Tables
from asq_hw.sim.records import OutputRange

__all__ = ["Context", "relu_ends", "summable_pixels"]

_SUM_BITS = 32
"""Bits of a vector's lanes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """A network's maps and packed weights, where all of them stand, and the tables that grow."""

    tables: Tables
    numbers: Mapping[str, int]
    """Of layers, in the order of execution."""
    maps: Mapping[str, FeatureMap]
    layout: Layout
    packed: Mapping[str, PackedWeights]
    fused: Mapping[str, Relu]
    """ReLUs by the layer that they are computed with."""
    product: Product
    kernel: Kernel

    def output_range(self, name: str) -> OutputRange:
        """What a layer's results are saturated and, with a ReLU, clamped to."""
        low, high = integer_range(self.maps[name].format.bits)
        floor, ceiling = low, high
        if name in self.fused:
            floor, ceiling = relu_ends(self.fused[name], self.maps)
        return OutputRange(low=low, high=high, floor=floor, ceiling=ceiling)


def relu_ends(layer: Relu, maps: Mapping[str, FeatureMap]) -> tuple[int, int]:
    """The smallest and the largest value that a ReLU gives."""
    high = integer_range(maps[layer.name].format.bits)[1]
    return 0, high if layer.maximum is None else layer.maximum


def summable_pixels(source: FeatureMap) -> int:
    """How many of a map's values have a sum that fits a vector's lane."""
    return 1 << (_SUM_BITS - source.format.bits)
