"""What a simulation gives out: the integers of every output, and what each layer counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.validation import IntArray
from asq_hw.sim.statistics import LayerStatistics

__all__ = ["OutputValues", "SimulationResult", "output_bytes", "output_values"]

_STORED_BYTES = 4
_SCORE_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutputValues:
    """One output on all images.

    Attributes
    ----------
    integers : (N, C, H, W) int32 array
        Its map.
    step : float
        What one unit of the integers stands for, a power of two.
    is_scores : bool
        Whether it is class scores.
    """

    integers: NDArray[np.int32]
    step: float
    is_scores: bool

    @property
    def real(self) -> NDArray[np.float64]:
        """The real values that the integers stand for, exactly."""
        return self.integers.astype(np.float64) * self.step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationResult:
    """What a run computed.

    Attributes
    ----------
    outputs : mapping of str to OutputValues
        By the outputs' names, in their order.
    layers : tuple of LayerStatistics
        In the order of execution.
    seconds : float
        Time that the images took, compilation and preparation not included.
    """

    outputs: Mapping[str, OutputValues]
    layers: tuple[LayerStatistics, ...]
    seconds: float

    @property
    def images(self) -> int:
        """How many images were run."""
        return len(next(iter(self.outputs.values())).integers)

    @property
    def has_scores(self) -> bool:
        """Whether one of the outputs is class scores."""
        return any(output.is_scores for output in self.outputs.values())

    @property
    def scores(self) -> IntArray:
        """Class scores, (N, classes) int64, one row for each image.

        Raises
        ------
        InputError
            If no output is class scores.
        """
        for output in self.outputs.values():
            if output.is_scores:
                return output.integers.reshape(self.images, -1).astype(np.int64)
        names = ", ".join(self.outputs)
        raise InputError(f"there are no class scores among the outputs {names}")

    @property
    def predictions(self) -> IntArray:
        """Index of each row's largest score, the lowest such index; (N,) int64.

        Raises
        ------
        InputError
            As `scores`.
        """
        classes: IntArray = self.scores.argmax(axis=1)
        return classes


def output_values(network: IntegerNetwork, results: NDArray[np.int32]) -> dict[str, OutputValues]:
    """Every output in the contract's order, channels first.

    Parameters
    ----------
    network : IntegerNetwork
        What was run.
    results : (N, size) int32 array
        The outputs' maps, one behind the other, channels last.
    """
    maps = network.feature_maps()
    values, start = {}, 0
    for output in network.outputs:
        channels, height, width = maps[output.layer].shape
        part = results[:, start : start + maps[output.layer].size]
        start += part.shape[1]
        ordered = part.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        values[output.name] = OutputValues(
            integers=ordered.copy(order="C"),
            step=math.ldexp(1.0, -maps[output.layer].format.fraction_bits),
            is_scores=output.is_scores,
        )
    return values


def output_bytes(network: IntegerNetwork) -> int:
    """Bytes of one image's outputs: as the kernels leave them, in order, and scores once more."""
    maps = network.feature_maps()
    sizes = sum(maps[output.layer].size for output in network.outputs)
    return 2 * _STORED_BYTES * sizes + _SCORE_BYTES * network.score_count
