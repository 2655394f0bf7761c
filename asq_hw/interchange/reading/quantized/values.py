"""What a tensor of a QONNX graph is: a constant, or a map with the codes it will be read in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asq_hw.interchange.reading.graph import Constant
from asq_hw.interchange.reading.quantized.drafts import Draft
from asq_hw.interchange.reading.quantized.quant import ActivationCodes
from asq_hw.numbers.schemes import UNIFORM, Scheme

__all__ = ["Fixed", "Map"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixed:
    """A constant.

    Parameters
    ----------
    values : array
    codes : int64 array or None
        Where a ``Quant`` node made it: its codes; `values` is these times `scales`.
    scales : float64 array or None
        Of the same shape.
    scheme : Scheme
        Whose codes they are: a narrow range is symmetric.
    """

    values: Constant
    codes: NDArray[np.int64] | None = field(default=None)
    scales: NDArray[np.float64] | None = field(default=None)
    scheme: Scheme = field(default=UNIFORM)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map:
    """A map.

    Parameters
    ----------
    draft : Draft
        The layer whose output it is, or is made of.
    codes : ActivationCodes or None
        Where its values are the codes of that output, times their scale; None where they are that
        output as it is.
    rank : int
        2 where it is (N, C), 4 where it is (N, C, H, W).
    """

    draft: Draft
    codes: ActivationCodes | None = field(default=None)
    rank: int = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """With a batch of one image."""
        channels, height, width = self.draft.shape
        return (1, channels, height, width) if self.rank == 4 else (1, channels)

    @property
    def bound(self) -> float:
        """Largest magnitude of its values."""
        own = self.draft.bound
        if self.codes is None:
            return own
        # What lies between two codes can be rounded up.
        return min(self.codes.largest, own + self.codes.scale / 2)
