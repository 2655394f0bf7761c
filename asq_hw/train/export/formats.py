"""The number formats of feature maps, chosen from what calibration images reach."""

from __future__ import annotations

import math
from collections.abc import Sequence

from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.images import ImageSpec
from asq_hw.train.export.calibration import Calibration
from asq_hw.train.graph.operation import Operation, OperationKind

__all__ = ["feature_formats", "reach_of_pixels"]

_HEADROOM = 1.5
"""Feature maps get room for values this much larger than calibration saw."""


def reach_of_pixels(images: ImageSpec) -> float:
    """Largest magnitude that any pixel has for the network."""
    form = images.format
    assert form.step is not None
    ends = [float(end * form.step) for end in (form.low, form.high)]
    return max(
        max(abs(end - mean) for end in ends) / std
        for mean, std in zip(images.mean, images.std, strict=True)
    )


def feature_formats(
    operations: Sequence[Operation], ranges: Calibration, feature_bits: int, pixel_reach: float
) -> dict[str, FeatureFormat]:
    """One format for each set of feature maps that must share one, with room for all of them.

    Parameters
    ----------
    operations : sequence of Operation
        The whole network.
    ranges : Calibration
        What its maps reach on the calibration images.
    feature_bits : int
        Width of every map.
    pixel_reach : float
        Largest magnitude of the network's input.

    Returns
    -------
    dict of str to FeatureFormat
        By operation.
    """
    leader = {operation.name: operation.name for operation in operations}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for operation in operations:
        if operation.kind.keeps_format:
            for source in operation.sources:
                leader[find(source)] = find(operation.name)
    reach: dict[str, float] = {}
    for operation in operations:
        top = find(operation.name)
        is_input = operation.kind is OperationKind.INPUT
        magnitude = pixel_reach if is_input else ranges.magnitude(operation.name)
        reach[top] = max(reach.get(top, 0.0), magnitude)
    fractions = {top: _fraction_bits(magnitude, feature_bits) for top, magnitude in reach.items()}
    products = [o for o in operations if o.kind is OperationKind.MULTIPLY]
    for _ in operations:  # what one product's map gives up, another one's sources may share
        for operation in products:
            most = sum(fractions[find(source)] for source in operation.sources)
            top = find(operation.name)
            fractions[top] = max(-32, min(fractions[top], most))
    return {
        operation.name: FeatureFormat(
            bits=feature_bits, fraction_bits=fractions[find(operation.name)]
        )
        for operation in operations
    }


def _fraction_bits(magnitude: float, bits: int) -> int:
    """The most fraction bits with which ``magnitude * headroom`` fits a signed integer."""
    if magnitude <= 0:
        return bits - 1
    return max(-32, min(32, bits - 1 - math.ceil(math.log2(magnitude * _HEADROOM))))
