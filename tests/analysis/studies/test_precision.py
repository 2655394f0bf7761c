"""Signal over noise of the grids: known values, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.studies.precision import GRIDS, main, samples, sqnr_db


def test_grids_hold_their_levels() -> None:
    assert {name: len(levels) for name, levels in GRIDS.items()} == {
        "uniform, 15 levels": 15,
        "uniform, 16 levels": 16,
        "uniform, 5 bits": 32,
        "POT": 15,
        "APoT": 15,
        "POST": 15,
    }
    assert sum(GRIDS["uniform, 15 levels"]) == 0
    assert max(GRIDS["POST"]) == pytest.approx(1)


def test_noise_by_hand() -> None:
    """Levels -1, 0, 1 for weights -1, 0.5 and 1: nothing is nearer than 0.25 off, squared."""
    weights = np.array([-1.0, 1.0, 1.0, -1.0, 0.5])
    found = sqnr_db([weights], (-1.0, 0.0, 1.0))
    assert found == pytest.approx(10 * math.log10(4.25 / 0.2), abs=0.02)


def test_sixteen_uniform_levels_for_a_gaussian_are_those_of_the_literature() -> None:
    """J. Max, Quantizing for minimum distortion, 1960: 16 equal steps leave 0.01154 of it."""
    gauss = samples()["Gauss"]
    levels = tuple(range(-15, 16, 2))
    assert sqnr_db(gauss, levels) == pytest.approx(-10 * math.log10(0.01154), abs=0.05)


def test_the_command_takes_no_argument() -> None:
    assert main(["extra"]) == 2
