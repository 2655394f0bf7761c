"""What an order costs, by hand, and what holds of the packaged network."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.studies.ordering import cycles_ratio, index_bits, main, own_weights, tables


def test_groups_begin_cycles_of_their_own() -> None:
    """Two groups of 3 and 1 on 2 lanes take 2 + 1 cycles; in any order the 5 weights take 3."""
    weights = [np.array([[1, 1, 2, 1, 0]])]
    group = lambda each: np.where(each == 0, -1, each)  # noqa: E731
    assert cycles_ratio(weights, group, 2) == pytest.approx(3 / 3)
    assert cycles_ratio(weights, group, 1) == pytest.approx(4 / 5)


def test_an_index_has_whole_bits() -> None:
    """4 weights of dot products of 2, one bit each; 6 of dot products of 3, two bits each."""
    layers = [np.zeros((2, 2), dtype=np.int64), np.zeros((2, 3), dtype=np.int64)]
    assert index_bits(layers) == pytest.approx((4 * 1 + 6 * 2) / 10)


def test_powers_are_those_of_the_layers_codes() -> None:
    (first, *_) = own_weights()
    assert first.shape == (16, 144)
    assert np.abs(first).max() == 7


def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(table in printed for table in tables())
    assert main(["extra"]) == 2
