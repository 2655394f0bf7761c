"""Layers of an integer network whose number formats are not chosen yet.

Each draft's output is a map of real values with a bound on their magnitude. Maps that must have one
format form a group, and the largest bound of a group chooses its fraction bits: so nothing ever
saturates, whatever the images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.interchange.reading.quantized.quant import ActivationCodes
from asq_hw.network.activation import ActivationQuantizer, FixedStep
from asq_hw.network.feature_map import FeatureFormat, Shape
from asq_hw.network.input_format import InputFormat
from asq_hw.network.layers import Conv, Input, Layer, Linear
from asq_hw.numbers.fixedpoint import integer_range, quantize_multiplier
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS, Grid
from asq_hw.numbers.schemes import UNIFORM, Scheme
from asq_hw.numbers.widths import (
    BIAS_BITS,
    MAX_FEATURE_BITS,
    MAX_REQUANTIZATION_SHIFT,
    MAX_SHIFT,
    MAX_STEP_FRACTION_BITS,
    MULTIPLIER_BITS,
    STEP_BITS,
)

__all__ = ["Draft", "InputDraft", "PlainDraft", "WeightedDraft", "formats_of"]

_LARGEST = (1 << (MAX_FEATURE_BITS - 1)) - 1
_STEPS = 1 << (MAX_FEATURE_BITS - 1 - STEP_BITS)
"""As many steps of a quantizer fit a map at least, so that a step fits its bits."""
_FRACTION_BITS = 32
"""Largest magnitude of a format's fraction bits."""

Reals = NDArray[np.float64]


@dataclass(slots=True, kw_only=True, eq=False)
class Draft(ABC):
    """A layer.

    Parameters
    ----------
    name : str
    sources : tuple of Draft
    shape : tuple of int
        Channels, height and width of its map.
    """

    name: str
    sources: tuple[Draft, ...] = ()
    shape: Shape

    @property
    @abstractmethod
    def bound(self) -> float:
        """Largest magnitude of its values."""

    @property
    @abstractmethod
    def keeps_format(self) -> bool:
        """Whether its map has the format of its sources, which then have one."""

    @abstractmethod
    def made(self, formats: Mapping[Draft, FeatureFormat]) -> Layer:
        """The layer."""


def formats_of(drafts: Sequence[Draft]) -> dict[Draft, FeatureFormat]:
    """Format of every map: the most fraction bits with which no value of its group saturates."""
    group = {draft: draft for draft in drafts}

    def root(draft: Draft) -> Draft:
        while group[draft] is not draft:
            draft = group[draft]
        return draft

    for draft in drafts:
        for source in draft.sources if draft.keeps_format else ():
            group[root(source)] = root(draft)
    bounds: dict[Draft, float] = {}
    for draft in drafts:
        bounds[root(draft)] = max(bounds.get(root(draft), 0.0), draft.bound)
        if isinstance(draft, WeightedDraft):
            # A step has 16 bits in units of what is quantized.
            source = root(draft.sources[0])
            bounds[source] = max(bounds.get(source, 0.0), _STEPS * draft.codes.scale)
    return {draft: _format(draft.name, bounds[root(draft)]) for draft in drafts}


def _format(name: str, bound: float) -> FeatureFormat:
    if not math.isfinite(bound):
        raise InputError(f"{name}: its values have no bound")
    bits = math.floor(math.log2(_LARGEST / bound)) if bound > 0 else 0
    if bits < -_FRACTION_BITS:
        raise InputError(f"{name}: values up to {bound:.3g} are too large for an integer network")
    return FeatureFormat(bits=MAX_FEATURE_BITS, fraction_bits=min(bits, _FRACTION_BITS))


@dataclass(slots=True, kw_only=True, eq=False)
class InputDraft(Draft):
    """Integers as the network sees them: ``(integer * step - mean) / std``, by channel."""

    mean: Reals
    std: Reals
    form: InputFormat

    @property
    def bound(self) -> float:
        """Of the smallest and the largest integer."""
        assert self.form.step is not None
        reals = [float(end * self.form.step) for end in (self.form.low, self.form.high)]
        ends = [np.abs((real - self.mean) / self.std).max() for real in reals]
        return float(max(ends))

    @property
    def keeps_format(self) -> bool:
        """It has no source."""
        return False

    def made(self, formats: Mapping[Draft, FeatureFormat]) -> Input:
        """With as many bits in its multipliers as there are."""
        form = formats[self]
        unit = [Fraction(2) ** form.fraction_bits / Fraction(std) for std in self.std.tolist()]
        assert self.form.step is not None
        slopes = [one * self.form.step for one in unit]
        offsets = [
            -one * Fraction(mean) for one, mean in zip(unit, self.mean.tolist(), strict=True)
        ]
        largest = max(abs(value) for value in (*slopes, *offsets))
        shift = _shift_to(largest, BIAS_BITS - 1, MAX_SHIFT)
        scale = 1 << shift
        return Input(
            name=self.name,
            height=self.shape[1],
            width=self.shape[2],
            multiplier=np.array([round(value * scale) for value in slopes]),
            offset=np.array([round(value * scale) for value in offsets]),
            shift=shift,
            output=form,
            bits=self.form.bits,
            signed=self.form.signed,
        )


def _shift_to(value: Fraction, bits: int, most: int) -> int:
    """The largest shift with which a magnitude, rounded, has at most `bits` bits."""
    largest = (1 << bits) - 1
    shift = most
    while shift and round(value * (1 << shift)) > largest:
        shift -= 1
    return shift


@dataclass(slots=True, kw_only=True, eq=False)
class WeightedDraft(Draft):
    """A convolution or a linear layer, with what is computed of each output channel behind it.

    Its values are ``factor * sum(weights * codes) + offset``, by output channel.

    Parameters
    ----------
    codes : ActivationCodes
        What its source is turned into.
    weights : int64 array
        (O, I / groups, kH, kW), or (O, I).
    factor, offset : float64 array of shape (O,)
    scheme : Scheme
        Of the weights: one whose levels are integers.
    stride, padding, dilation : pair of int
    groups : int
    """

    codes: ActivationCodes
    weights: NDArray[np.int64]
    factor: Reals
    offset: Reals
    scheme: Scheme = UNIFORM
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)

    @property
    def bound(self) -> float:
        """Of the products' sums, by output channel."""
        rows = self.weights.reshape(len(self.weights), -1)
        low, high = integer_range(self.codes.bits, signed=self.codes.signed)
        reach = np.abs(rows).sum(axis=1) * max(high, -low)
        return float((np.abs(self.factor) * reach + np.abs(self.offset)).max())

    @property
    def keeps_format(self) -> bool:
        """It makes a format of its own."""
        return False

    def made(self, formats: Mapping[Draft, FeatureFormat]) -> Conv | Linear:
        """With a step and multipliers of 16 bits."""
        form, source = formats[self], formats[self.sources[0]]
        quantizer = _quantizer(self.name, self.codes, source)
        step = quantizer.step.maximum
        unit = Fraction(2) ** form.fraction_bits
        targets = [Fraction(value) * unit / step for value in self.factor.tolist()]
        largest = max(abs(value) for value in targets)
        shift = _shift_to(largest, MULTIPLIER_BITS - 1, MAX_REQUANTIZATION_SHIFT + MAX_SHIFT)
        if round(largest * (1 << shift)) >> (MULTIPLIER_BITS - 1):
            raise InputError(f"{self.name}: its outputs are too large beside its inputs")
        narrow = max(0, shift - MAX_REQUANTIZATION_SHIFT)
        grid = _weight_grid(self.name, self.weights, self.scheme)
        level_codes = np.array([level.code for level in grid.ordered_levels], dtype=np.uint16)
        fields: dict[str, Any] = {
            "name": self.name,
            "source": self.sources[0].name,
            "quantizer": quantizer,
            "weight_grid": grid,
            "weight_codes": level_codes[self.weights - grid.minimum],
            "multiplier": np.array([round(value * (1 << shift)) for value in targets]),
            "narrow_shift": narrow,
            "shift": shift - narrow,
            "bias": np.array([round(Fraction(value) * unit) for value in self.offset.tolist()]),
            "output": form,
        }
        if self.weights.ndim == 2:
            return Linear(**fields)
        return Conv(
            **fields,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            dilation=self.dilation,
        )


def _quantizer(name: str, codes: ActivationCodes, source: FeatureFormat) -> ActivationQuantizer:
    exact = Fraction(codes.scale) * Fraction(2) ** source.fraction_bits
    step, fraction = quantize_multiplier(exact, STEP_BITS, maximum_shift=MAX_STEP_FRACTION_BITS)
    if fraction < 0 or step < 1:
        raise InputError(f"{name}: the scale {codes.scale:.3g} does not fit the values it is for")
    return ActivationQuantizer(
        grid=Grid(scheme=UNIFORM, bits=codes.bits, signed=codes.signed),
        step=FixedStep(step=step),
        step_fraction_bits=fraction,
    )


def _weight_grid(name: str, weights: NDArray[np.int64], scheme: Scheme) -> Grid:
    """The grid of the fewest bits."""
    low, high = int(weights.min()), int(weights.max())
    for bits in range(MIN_BITS, MAX_BITS + 1):
        grid = Grid(scheme=scheme, bits=bits)
        if grid.minimum <= low and high <= grid.maximum:
            return grid
    raise InputError(f"{name}: weights must be signed codes of {MAX_BITS} bits, not {low}..{high}")


@dataclass(slots=True, kw_only=True, eq=False)
class PlainDraft(Draft):
    """A layer without weights.

    Parameters
    ----------
    largest : float
        Of its values.
    make : callable
        Makes the layer of its name, its sources' names and its format.
    """

    largest: float
    make: Callable[[str, tuple[str, ...], FeatureFormat], Layer] = field(repr=False)

    @property
    def bound(self) -> float:
        """As it was found."""
        return self.largest

    @property
    def keeps_format(self) -> bool:
        """Always."""
        return True

    def made(self, formats: Mapping[Draft, FeatureFormat]) -> Layer:
        """In the format that all of its group have."""
        names = tuple(source.name for source in self.sources)
        return self.make(self.name, names, formats[self])
