"""Any function of single values, from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError, check_range
from asq_hw.network.feature_map import FeatureFormat, FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.one_source import OneSource
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import IntArray, check_integers
from asq_hw.numbers.widths import BIAS_BITS, MAX_FEATURE_BITS

__all__ = ["MAX_SEGMENTS", "Lookup"]

MAX_SEGMENTS = 1 << 12
"""Straight pieces of a function."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lookup(OneSource):
    """A function whose values are given at even distances, with straight lines between them.

    ``values[0]`` belongs to the smallest X, the next one to an X that is ``2**shift`` larger, and
    so on; the last one belongs to an X that is one larger than the largest. `values` is (1, K) for
    all channels alike, or (C, K) with a function for each channel. One segment, K = 2, is a factor
    and an offset.
    """

    kind: ClassVar[str] = "lookup"
    since: ClassVar[int] = 5

    shift: Annotated[int, Stored("shift", Form.INTEGER)]
    values: Annotated[IntArray, Stored("values", Form.MATRIX32)]
    output: Annotated[FeatureFormat, Stored("output", Form.FORMAT)]

    def __post_init__(self) -> None:
        OneSource.__post_init__(self)
        check_range(f"{self.name}: shift", self.shift, 0, MAX_FEATURE_BITS)
        values = check_integers(f"{self.name}: values", self.values, BIAS_BITS, 2)
        segments = values.shape[1] - 1
        if segments.bit_count() != 1 or segments > MAX_SEGMENTS:
            raise InputError(
                f"{self.name}: there must be one value more than a power of two up to "
                f"{MAX_SEGMENTS}, not {segments + 1}"
            )
        object.__setattr__(self, "values", values)

    @property
    def segments(self) -> int:
        """Straight pieces of each function."""
        return int(self.values.shape[1]) - 1

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """The shape of its source, in the layer's own format."""
        (source,) = sources
        reach = self.segments << self.shift
        if reach != 1 << source.format.bits:
            raise InputError(
                f"{self.name}: {self.segments} segments of 2**{self.shift} must cover the "
                f"{source.format.bits} bits of its source"
            )
        if self.values.shape[0] not in (1, source.shape[0]):
            raise InputError(
                f"{self.name}: there must be one table, or one for each of {source.shape[0]} "
                f"channels, not {self.values.shape[0]}"
            )
        return FeatureMap(shape=source.shape, format=self.output)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: values of 32 bits meet parts of at most 2**24."""
