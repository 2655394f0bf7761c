"""Two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError, check_range
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.weighted import WeightedLayer
from asq_hw.network.layers.windows import MAX_PADDING, MAX_STRIDE, output_size
from asq_hw.numbers.validation import check_pair

__all__ = ["Conv"]

MAX_GROUPS = 1 << 16
MAX_DILATION = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv(WeightedLayer):
    """A 2-D convolution (cross-correlation), zero-padded in activation codes."""

    kind: ClassVar[str] = "conv"
    weight_rank: ClassVar[int] = 4  # (O, I / groups, kH, kW)

    stride: Annotated[tuple[int, int], Stored("stride", Form.PAIR)] = (1, 1)
    padding: Annotated[tuple[int, int], Stored("padding", Form.PAIR)] = (0, 0)
    groups: Annotated[int, Stored("groups", Form.INTEGER)] = 1
    dilation: Annotated[tuple[int, int], Stored("dilation", Form.PAIR, since=5)] = (1, 1)
    """Distance of two codes that neighboring weights meet, down and across."""

    def __post_init__(self) -> None:
        WeightedLayer.__post_init__(self)
        stride = check_pair(f"{self.name}: stride", self.stride, 1, MAX_STRIDE)
        object.__setattr__(self, "stride", stride)
        padding = check_pair(f"{self.name}: padding", self.padding, 0, MAX_PADDING)
        object.__setattr__(self, "padding", padding)
        dilation = check_pair(f"{self.name}: dilation", self.dilation, 1, MAX_DILATION)
        object.__setattr__(self, "dilation", dilation)
        check_range(f"{self.name}: groups", self.groups, 1, MAX_GROUPS)
        if self.out_channels % self.groups:
            raise InputError(
                f"{self.name}: {self.out_channels} output channels do not divide into "
                f"{self.groups} groups"
            )

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return int(self.weight_codes.shape[2]), int(self.weight_codes.shape[3])

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what a window spans."""
        height, width = (
            (size - 1) * distance + 1
            for size, distance in zip(self.kernel_size, self.dilation, strict=True)
        )
        return height, width

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return int(self.weight_codes.shape[1]) * self.groups

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """One feature for each output channel and window."""
        self.check_channels(sources[0])
        shape = (self.out_channels, *output_size(self, sources[0].shape))
        return FeatureMap(shape=shape, format=self.output)
