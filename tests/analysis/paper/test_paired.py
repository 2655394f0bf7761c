"""Student's t against published values, power against draws, differences by hand."""

import math

import numpy as np
import pytest

from analysis.paper.paired import (
    Difference,
    paired_difference,
    student_t_cdf,
    student_t_quantile,
)


@pytest.mark.parametrize(
    ("degrees", "value"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (19, 2.093), (30, 2.042)],
)
def test_quantiles_are_those_of_the_books(degrees: int, value: float) -> None:
    assert student_t_quantile(0.975, degrees) == pytest.approx(value, abs=5e-4)
    gamma = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2)
    x = np.linspace(0, value, 200_001)
    density = gamma / math.sqrt(degrees * math.pi) * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
    assert student_t_cdf(value, degrees) == pytest.approx(0.5 + np.trapezoid(density, x))
    assert student_t_cdf(-value, degrees) == pytest.approx(1 - student_t_cdf(value, degrees))


def test_a_difference_is_paired_by_seed() -> None:
    # Differences -1, 2 and 5: mean 2, standard deviation 3. The seeds 4 and 5 have no partner.
    found = paired_difference(
        {1: 80.0, 2: 83.0, 3: 90.0, 4: 0.0}, {3: 85.0, 1: 81.0, 2: 81.0, 5: 0.0}
    )
    assert found is not None
    assert (found.mean, found.deviation, found.count) == (2, 3, 3)
    assert found.half_width == pytest.approx(4.3027 * 3 / math.sqrt(3), rel=1e-4)
    assert not found.is_clear
    assert Difference(mean=7.5, deviation=3, count=3).is_clear
    assert paired_difference({1: 2.0, 2: 3.0}, {1: 1.0}) is None


@pytest.mark.parametrize(("count", "true"), [(2, 0.5), (3, 0.4), (5, 0.4), (10, 0.3)])
def test_power_is_how_often_draws_show_the_difference(count: int, true: float) -> None:
    deviation = 0.35
    draws = np.random.default_rng(1).normal(true, deviation, (400_000, count))
    limit = student_t_quantile(0.975, count - 1)
    error = draws.std(axis=1, ddof=1) / math.sqrt(count)
    shown = np.abs(draws.mean(axis=1)) > limit * error
    found = Difference(mean=0, deviation=deviation, count=count)
    assert found.power(true) == pytest.approx(shown.mean(), abs=0.004)
    assert found.power(-true) == found.power(true)
    assert found.power(0) == pytest.approx(0.05, abs=1e-3)
    assert found.power(found.visible) == pytest.approx(0.8, abs=1e-3)


def test_no_deviation_shows_every_difference() -> None:
    found = Difference(mean=0.1, deviation=0, count=3)
    assert (found.half_width, found.visible, found.power(0.1), found.power(0)) == (0, 0, 1, 0)
