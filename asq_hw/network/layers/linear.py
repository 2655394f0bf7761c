"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.weighted import WeightedLayer

__all__ = ["Linear"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear(WeightedLayer):
    """A fully connected layer on a (N, I, 1, 1) feature map."""

    kind: ClassVar[str] = "linear"
    weight_rank: ClassVar[int] = 2  # (O, I)

    @property
    def in_channels(self) -> int:
        """Number of inputs."""
        return int(self.weight_codes.shape[1])

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """One feature for each output."""
        self.check_channels(sources[0])
        if sources[0].shape[1:] != (1, 1):
            raise InputError(f"{self.name}: a linear layer needs (C, 1, 1), not {sources[0].shape}")
        return FeatureMap(shape=(self.out_channels, 1, 1), format=self.output)
