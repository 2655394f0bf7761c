"""The figure of area against clock frequency."""

from __future__ import annotations

import pytest

from analysis.studies.mac_figure import main, read_rows
from asq_hw.errors import InputError

HEADER = "scheme,bits,target,luts,fmax_mhz,cycles_per_product,accumulation\n"


def test_rows_become_a_figure(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text(
        HEADER
        + "uniform,4,ecp5,50,200.5,1,single\nuniform,4,ecp5,20,300.0,4,single\n"
        + "post-split,4,ice40,40,150.0,1,ordered\nuniform,4,gates,,,1,single\n"
    )
    assert [row["target"] for row in read_rows(rows)] == ["ecp5", "ecp5", "ice40"]
    assert main([str(rows), str(tmp_path / "figure.png")]) == 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_rows_without_frequencies_are_refused(tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text(HEADER + "uniform,4,ecp5,50,,1,single\n")
    with pytest.raises(InputError, match="holds no row with fmax_mhz: synthesize with --pnr"):
        read_rows(rows)
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read_rows(tmp_path / "none.csv")
