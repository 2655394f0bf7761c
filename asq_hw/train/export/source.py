"""What one integer layer is made from, and how its real numbers become integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.numbers.widths import BIAS_BITS
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["FirstStep", "Real", "WeightedSource", "integer_bias", "real_array"]

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """The layer whose adapter another one takes, and its integer step where beta is 1."""

    layer: str
    unit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedSource:
    """Everything that one integer layer is made from.

    `low` and `high` are each output channel's extremes in calibration, `positions` the source's
    height times width; `largest_step` and, where there is an adapter with hidden values,
    `largest_hidden` are what calibration saw. `first` is the layer whose adapter it takes.
    """

    name: str
    source: str
    module: QuantConv2d | QuantLinear
    batch_norm: nn.BatchNorm2d | None
    source_format: FeatureFormat
    output_format: FeatureFormat
    low: Real
    high: Real
    positions: int
    largest_step: float
    largest_hidden: float
    first: FirstStep | None = None


def integer_bias(name: str, values: Real) -> NDArray[np.int64]:
    """The nearest integers; InputError if one does not fit a bias."""
    limit = 2.0 ** (BIAS_BITS - 1)
    if not (np.abs(values) < limit - 1).all():
        raise InputError(
            f"{name}: a bias of {np.abs(values).max():g} units does not fit {BIAS_BITS} bits"
        )
    return np.floor(values + 0.5).astype(np.int64)


def real_array(tensor: Tensor) -> Real:
    """A tensor's values in double precision."""
    return tensor.detach().cpu().double().numpy()
