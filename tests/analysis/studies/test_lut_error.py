"""Error of the rounded table against exact arithmetic."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from analysis.studies.lut_error import error_rows, main, plot_errors
from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, POT

POST = Grid(scheme=POST, bits=4)
ROWS = error_rows(POST, 4, fraction_bits=(0, 3), lengths=(1, 16, 256), sums=300)


def _row(product, fraction, length):
    (row,) = (
        row
        for row in ROWS
        if (row.product, row.fraction_bits, row.length) == (product, fraction, length)
    )
    return row


def test_one_table_entry_is_off_by_what_rounding_leaves():
    # Activation r times sqrt 2, 2 sqrt 2 or 4 sqrt 2 is rounded; even powers are exact.
    worst = max(
        abs(r * power * math.sqrt(2) - round(r * power * math.sqrt(2)))
        for r in range(16)
        for power in (1, 2, 4)
    )
    assert 0 < _row("post-lut", 0, 1).largest_error <= worst + 1e-12


@pytest.mark.parametrize("fraction", [0, 3])
@pytest.mark.parametrize("length", [1, 16, 256])
def test_errors_stay_below_half_a_unit_for_each_product(fraction, length):
    row = _row("post-lut", fraction, length)
    assert row.rms_error <= row.largest_error <= length * 0.5 * 2.0**-fraction


def test_the_table_gets_worse_with_length_and_the_pair_does_not():
    for fraction in (0, 3):
        ratio = _row("post-lut", fraction, 256).rms_error / _row("post-lut", fraction, 1).rms_error
        assert 8 < ratio < 32  # independent errors grow with the square root: 16
    # One rounding to 4 fraction bits, and the constant's own error: 46341 / 2^15 - sqrt 2.
    odd = 256 * 15 * 4
    limit = 2.0**-5 + odd * abs(46341 / 2**15 - math.sqrt(2))
    for length in (1, 16, 256):
        assert _row("post-split", 4, length).largest_error <= limit


def test_a_grid_without_the_root_is_refused():
    with pytest.raises(InputError, match="a rounded table is for post grids, not for 4-bit pot"):
        error_rows(Grid(scheme=POT, bits=4), 4)


def test_figure_is_drawn(tmp_path):
    plot_errors(ROWS, tmp_path / "error.png")
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")


def test_too_many_arguments(capsys):
    assert main(["a", "b"]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_document_holds_the_printed_table_and_its_figures(capsys):
    document = Path(__file__).parents[3] / "docs" / "mac.md"
    text = document.read_text(encoding="utf-8")
    assert main([]) == 0
    assert capsys.readouterr().out in text
    figures = re.findall(r"!\[[^]]*]\(([^)]+)\)", text)
    assert len(figures) == 3
    assert all((document.parent / figure).is_file() for figure in figures)
