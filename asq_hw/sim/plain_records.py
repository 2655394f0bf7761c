"""The records of steps that have neither weights nor activation codes; see `asq_hw.sim.records`."""

from __future__ import annotations

from typing import NamedTuple

from asq_hw.sim.records import OutputRange

__all__ = [
    "AddRecord",
    "AveragePoolRecord",
    "FlattenRecord",
    "InputRecord",
    "LookupRecord",
    "MaxPoolRecord",
    "PlaceRecord",
    "ProductRecord",
    "ReluRecord",
    "SelectRecord",
    "WindowRecord",
]


class InputRecord(NamedTuple):
    """Pixels, or other integers, to the first feature map."""

    destination: int
    channels: int
    pixels: int
    value_bytes: int
    """Of each integer, 1 or 2."""
    signed: int
    multipliers_at: int
    offsets_at: int
    shift: int
    low: int
    high: int


class AddRecord(NamedTuple):
    """The sum of two maps."""

    source: int
    other: int
    destination: int
    values: int
    """How many a map holds."""
    range: OutputRange


class ProductRecord(NamedTuple):
    """The product of two maps."""

    source: int
    other: int
    destination: int
    channels: int
    height: int
    width: int
    other_row: int
    """From one row of the second map to the next that a row of the first meets; 0 where it has
    one."""
    other_column: int
    other_channel: int
    shift: int
    low: int
    high: int


class LookupRecord(NamedTuple):
    """A function of single values, by segments."""

    source: int
    destination: int
    channels: int
    pixels: int
    values_at: int
    table: int
    """From one channel's values to the next channel's; 0 where all have the same."""
    lowest: int
    """The smallest value there is, which the first of `values_at` belongs to."""
    shift: int
    low: int
    high: int


class ReluRecord(NamedTuple):
    """A ReLU that no other layer computes with its own output."""

    source: int
    destination: int
    values: int
    floor: int
    ceiling: int


class FlattenRecord(NamedTuple):
    """Channels-last to channels-first."""

    source: int
    destination: int
    channels: int
    pixels: int


class PlaceRecord(NamedTuple):
    """A map copied into a larger one."""

    source: int
    destination: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    channel: int
    """Where its first channel, row and column come to stand."""
    row: int
    column: int
    clears: int
    """1 where the larger map is filled with zeros before."""


class SelectRecord(NamedTuple):
    """Some of a map's values, which become one of their own."""

    source: int
    destination: int
    source_channels: int
    source_width: int
    channels_at: int
    """Of each channel, which one of the source it is."""
    channels: int
    height: int
    width: int
    row: int
    """First of the source that is taken."""
    column: int
    row_stride: int
    column_stride: int


class WindowRecord(NamedTuple):
    """The map that a pooling layer reads, and where its windows stand."""

    channels: int
    height: int
    width: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    padding_y: int
    padding_x: int


class MaxPoolRecord(NamedTuple):
    """Largest values."""

    source: int
    destination: int
    window: WindowRecord
    low: int
    """The smallest value there is."""


class AveragePoolRecord(NamedTuple):
    """Scaled sums."""

    source: int
    destination: int
    window: WindowRecord
    summable_pixels: int
    """Pixels whose values have a sum of 32 bits."""
    multiplier: int
    shift: int
    low: int
    high: int
