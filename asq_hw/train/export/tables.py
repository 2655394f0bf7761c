"""A function of single values as a table with straight lines between its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Lookup
from asq_hw.network.layers.lookup import MAX_SEGMENTS
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.widths import BIAS_BITS
from asq_hw.train.graph.pointwise import evaluated, tables_of

__all__ = ["integer_lookup"]

Real = NDArray[np.float64]

_CLOSE = 2.0**-12
"""Part of the largest output that a table may be off: a sixteenth of a step of eight bits."""
_CHANNEL_SEGMENTS = 16
"""Segments at most where each channel has a function: those are straight but for one bend."""


def integer_lookup(
    name: str,
    source: str,
    module: nn.Module,
    *,
    source_format: FeatureFormat,
    output_format: FeatureFormat,
    magnitude: float,
) -> Lookup:
    """The table of a module's function, with the fewest segments that come close to it.

    Parameters
    ----------
    name, source : str
        Of the layer, and of the map that it reads.
    module : nn.Module
        One of `asq_hw.train.graph.pointwise.POINTWISE`.
    source_format, output_format : FeatureFormat
        Of the two maps.
    magnitude : float
        Of the largest output on the calibration images.

    Raises
    ------
    InputError
        If the function is not finite on all that its source can hold.
    """
    low, high = integer_range(source_format.bits)
    most = MAX_SEGMENTS if tables_of(module) == 1 else _CHANNEL_SEGMENTS
    most = min(most, 1 << source_format.bits)
    places = np.linspace(low, high + 1, 2 * most + 1)  # the middles of the shortest segments, too
    unit = 2.0**output_format.fraction_bits
    exact = _values(name, module, places * 2.0**-source_format.fraction_bits) * unit
    allowed = max(1.0, magnitude * unit * _CLOSE)
    segments = 1
    while segments < most and _error(exact, segments, output_format) > allowed:
        segments *= 2
    return Lookup(
        name=name,
        source=source,
        shift=source_format.bits - segments.bit_length() + 1,
        values=_knots(exact, segments),
        output=output_format,
    )


def _values(name: str, module: nn.Module, places: Real) -> Real:
    made: Real = evaluated(module, torch.from_numpy(places)).numpy()
    if not np.isfinite(made).all():
        raise InputError(
            f"{name}: {type(module).__name__} must be finite from {places[0]:g} to {places[-1]:g}"
        )
    return made


def _knots(exact: Real, segments: int) -> NDArray[np.int64]:
    """The integers at the ends of so many segments."""
    low, high = integer_range(BIAS_BITS)
    every = (exact.shape[1] - 1) // segments
    return np.clip(np.floor(exact[:, ::every] + 0.5), low, high).astype(np.int64)


def _error(exact: Real, segments: int, output: FeatureFormat) -> float:
    """The largest distance of straight lines from a function, both saturated, in units."""
    low, high = integer_range(output.bits)
    count = (exact.shape[1] - 1) // segments
    knots = _knots(exact, segments).astype(np.float64)
    part = np.arange(count) / count
    lines: NDArray[Any] = knots[:, :-1, None] * (1 - part) + knots[:, 1:, None] * part
    wanted = exact[:, :-1].reshape(len(exact), segments, count)
    return float(np.abs(lines.clip(low, high) - wanted.clip(low, high)).max())
