"""What was seen of a layer's input over any number of batches, in memory that does not grow."""

from __future__ import annotations

import torch
from torch import Tensor

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.quantizers.adapter import channel_means
from asq_hw.train.quantizers.initial_scales import error_fractions, min_max_step

__all__ = ["Observation"]

_BINS = 1 << 13
"""Bins on either side of zero; at least half of them are in use."""
_COUNTED = 1 << 20
"""Values of a batch that are counted, at even distances; the extremes are those of all."""
_MOST_SAMPLES = 256
"""Samples whose channel means are kept."""
_DRAWN = 1 << 16


class Observation:
    """A histogram of values, their extremes, and the channel means of some samples.

    The bins reach from ``-reach`` to ``reach``, a power of two. Where a value lies beyond, pairs of
    bins become one until it does not: no value is ever looked at twice.

    Attributes
    ----------
    low, high : float
        The smallest and the largest value; 0 before anything was seen.
    samples : int
        How many were seen.
    """

    def __init__(self) -> None:
        self.low, self.high, self.samples = 0.0, 0.0, 0
        self._reach = 0.0
        self._counts = torch.zeros(2 * _BINS, dtype=torch.float64)
        self._means: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """See a batch ``(N, C, ...)``.

        Raises
        ------
        InputError
            If it holds NaN or infinity.
        """
        flat = x.detach().reshape(-1).float()
        low, high = (float(bound) for bound in flat.aminmax())
        if not abs(low) + abs(high) < float("inf"):
            raise InputError("values must be finite, and are not on these images")
        first = self.samples == 0
        self.low, self.high = (low, high) if first else (min(self.low, low), max(self.high, high))
        if (room := _MOST_SAMPLES - self.samples) > 0:
            self._means.append(channel_means(x.detach()[:room]).float().cpu())
        self.samples += len(x)
        self._widen(max(-low, high))
        self._count(flat[:: len(flat) // _COUNTED | 1])

    def _widen(self, largest: float) -> None:
        """Let the bins reach as far as a value."""
        if largest <= self._reach:
            return
        reach = float(2.0 ** torch.tensor(largest, dtype=torch.float64).log2().ceil())
        if self._reach:
            factor = min(round(reach / self._reach), 1 << 40)
            places = (torch.arange(2 * _BINS) - _BINS).div(factor, rounding_mode="floor") + _BINS
            self._counts = torch.zeros_like(self._counts).index_add_(0, places, self._counts)
        self._reach = reach

    def _count(self, values: Tensor) -> None:
        if not self._reach:
            self._counts[_BINS] += len(values)
            return
        places = (values * (_BINS / self._reach)).floor_().clamp_(-_BINS, _BINS - 1).add_(_BINS)
        self._counts += torch.bincount(places.long(), minlength=2 * _BINS).cpu()

    def centers(self) -> tuple[Tensor, Tensor]:
        """The middles of the bins that are not empty, and how many values each holds, float64."""
        places = self._counts.nonzero()[:, 0]
        middles = (places - _BINS + 0.5) * (self._reach / _BINS)
        return middles.double().clamp(self.low, self.high), self._counts[places]

    def step(self, grid: Grid, how: StepStart) -> Tensor:
        """The step of a uniform quantizer of what was seen, of shape ``()``, float32.

        Parameters
        ----------
        grid : Grid
            Its integers.
        how : StepStart
            ``min-max`` clips nothing; any other has the least squared error.
        """
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        if how is StepStart.MIN_MAX:
            return min_max_step(low, high, grid)
        values, counts = self.centers()
        largest = torch.maximum(-low, high).double() / grid.maximum
        steps = error_fractions(largest[None])
        codes = (values / steps).round().clamp(grid.minimum, grid.maximum)
        errors = (codes * steps - values).square() @ counts
        step = steps[errors.argmin(), 0].float()
        return torch.where(step > 0, step, torch.ones_like(step))

    def drawn(self) -> Tensor:
        """A sample ``(1, n)`` with the distribution of what was seen, its extremes included."""
        values, counts = self.centers()
        ranks = torch.linspace(0, float(counts.sum()), _DRAWN, dtype=torch.float64)
        drawn = values[torch.searchsorted(counts.cumsum(0), ranks).clamp(max=len(values) - 1)]
        drawn[0], drawn[-1] = self.low, self.high
        return drawn.float()[None]

    def means(self) -> Tensor:
        """Channel means ``(N, C)`` of the first samples, up to 256."""
        return torch.cat(self._means)
