"""Differences between rows, taken seed by seed: their intervals, and what they could have shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

__all__ = [
    "LEVEL",
    "NATS",
    "POINTS",
    "Difference",
    "Scores",
    "paired_difference",
    "student_t_cdf",
    "student_t_quantile",
]

Scores = Mapping[int, float]
"""A measure by seed."""

LEVEL = 0.975
"""Of the two-sided 95 % interval."""
POINTS, NATS = 2, 4
"""Decimal places of differences of top-1 and of losses."""
_POWER = 0.8
_STEPS = 2000
"""Of an integral: four digits of a power."""
_BISECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Mean difference of two rows over their common seeds.

    Parameters
    ----------
    mean, deviation : float
        Of the differences at equal seeds.
    count : int
        How many there are, at least two.
    """

    mean: float
    deviation: float
    count: int

    @property
    def half_width(self) -> float:
        """Half of the 95 % confidence interval around the mean, by Student's t."""
        return student_t_quantile(LEVEL, self.count - 1) * self._error

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.half_width

    def text(self, digits: int) -> str:
        """The mean and behind it half of the interval, with so many decimal places."""
        return f"{self.mean:+.{digits}f} ± {self.half_width:.{digits}f}"

    def power(self, true: float) -> float:
        """How often so many seeds would show a true difference of that size.

        With the deviation that was found; a difference is shown where its interval leaves out zero.
        """
        if self._error == 0:
            return 1.0 if true else 0.0
        return _power(abs(true) / self._error, self.count - 1)

    @property
    def visible(self) -> float:
        """The true difference that so many seeds would show four times of five."""
        if self._error == 0:
            return 0.0
        low, high = 0.0, 200.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if _power(middle, self.count - 1) < _POWER else (low, middle)
        return high * self._error

    @property
    def _error(self) -> float:
        return self.deviation / math.sqrt(self.count)


def paired_difference(scores: Scores, baseline: Scores) -> Difference | None:
    """Compare two rows seed by seed: runs of one seed share start, order and augmentation.

    None with fewer than two common seeds.
    """
    differences = [scores[seed] - baseline[seed] for seed in scores.keys() & baseline.keys()]
    if len(differences) < 2:
        return None
    return Difference(mean=fmean(differences), deviation=stdev(differences), count=len(differences))


def student_t_cdf(value: float, degrees: int) -> float:
    """The share of Student's t that lies below a value (Abramowitz and Stegun, 26.7.3-4)."""
    theta = math.atan(value / math.sqrt(degrees))
    cosine = math.cos(theta)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    inside = math.sin(theta) * total
    if odd:
        inside = 2 / math.pi * (theta + inside)
    return 0.5 + inside / 2


def student_t_quantile(share: float, degrees: int) -> float:
    """The value below which a share above a half of Student's t lies."""
    low, high = 0.0, 1e6
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_cdf(middle, degrees) < share else (low, middle)
    return high


def _power(shift: float, degrees: int) -> float:
    """Share of the noncentral t that lies outside the central one's 95 %.

    Given the estimated deviation over the true one, ``u``, a mean over its error is beyond the
    limit where a normal number is; the integral over u is taken at the middle of its quantiles'
    steps, u squared times the degrees being chi squared.
    """
    limit = student_t_quantile(LEVEL, degrees)
    normal = NormalDist()
    total = weight = 0.0
    for u, density in _deviations(degrees):
        seen = normal.cdf(shift - limit * u) + normal.cdf(-shift - limit * u)
        total, weight = total + density * seen, weight + density
    return total / weight


def _deviations(degrees: int) -> list[tuple[float, float]]:
    """Estimated deviations over the true one, and how dense they lie up to a factor."""
    most = 1 + 8 / math.sqrt(2 * degrees)
    found = []
    for step in range(_STEPS):
        u = most * (step + 0.5) / _STEPS
        found.append((u, math.exp((degrees - 1) * math.log(u) - degrees * (u * u - 1) / 2)))
    return found
