"""Sums on a chip's cells: what a cell computes, what a sum on it is, what is emitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asq_hw.cli import main
from asq_hw.errors import InputError
from rtl.lib.cells import ECP5_CELLS
from rtl.lib.cells.cells import Cells
from rtl.mac.design import Mac
from rtl.synthesis.measure import measure
from rtl.targets.registry import TARGETS
from rtl.tools import find_iverilog, run_iverilog, run_tool, run_yosys
from rtl.verify.proofs import Answer, prove
from rtl.verify.sums import Form, SumProof, check_cells

pytest.importorskip("pyosys")

# Yosys has a model of its own of each cell, written by others.
SAME = """
read_verilog ours.v
rename CCU2C ours
read_verilog -DNO_INCLUDES +/ecp5/cells_sim.v
hierarchy -check -top both
flatten
opt -full
sat -verify -prove differs 0
"""
BOTH = """
module both(input a, b, c, d, e, f, g, h, carry, output differs);
  wire [2:0] one, other;
  ours #(.INIT0(16'h{first}), .INIT1(16'h{second}), .INJECT1_0("NO"), .INJECT1_1("{inject}"))
    first(.CIN(carry), .A0(a), .B0(b), .C0(c), .D0(d), .A1(e), .B1(f), .C1(g), .D1(h),
          .S0(one[0]), .S1(one[1]), .COUT(one[2]));
  CCU2C #(.INIT0(16'h{first}), .INIT1(16'h{second}), .INJECT1_0("NO"), .INJECT1_1("{inject}"))
    second(.CIN(carry), .A0(a), .B0(b), .C0(c), .D0(d), .A1(e), .B1(f), .C1(g), .D1(h),
           .S0(other[0]), .S1(other[1]), .COUT(other[2]));
  assign differs = one != other;
endmodule
"""


@pytest.mark.parametrize(
    ("first", "second", "inject"),
    [("596A", "96AA", "NO"), ("6996", "6996", "NO"), ("1234", "FEDC", "YES")],
)
def test_a_cell_computes_what_yosys_says(
    first: str, second: str, inject: str, tmp_path: Path
) -> None:
    both = BOTH.format(first=first, second=second, inject=inject)
    (tmp_path / "ours.v").write_text(ECP5_CELLS.model, encoding="ascii")
    (tmp_path / "both.v").write_text(both, encoding="ascii")
    run_yosys(SAME.replace("hierarchy", "read_verilog both.v\nhierarchy"), folder=tmp_path)


@pytest.mark.parametrize("width", [3, 24])
def test_every_form_on_cells_is_the_portable_one(width: int) -> None:
    checks = check_cells(ECP5_CELLS, width)
    assert [check.name.split()[-1] for check in checks] == [
        "chosen",
        "shifted",
        "signed",
        "inverted",
    ]
    assert [check.detail for check in checks if not check.passed] == []


@pytest.mark.parametrize("form", Form)
def test_a_form_that_is_another_one_is_refuted(form: Form) -> None:
    """A subtraction in place of a choice, and the other way round."""

    def swapped(m, operands, name):  # type: ignore[no-untyped-def]
        if form is Form.SIGNED:
            words = (operands.words[0], operands.words[0])
            return ECP5_CELLS.add_chosen(m, replace(operands, words=words), name)
        words = operands.words[:1]
        return ECP5_CELLS.add_or_subtract(m, replace(operands, words=words), name)

    wrong = Cells(
        name="wrong",
        title="wrong cells",
        model=ECP5_CELLS.model,
        add_chosen=swapped,
        add_or_subtract=swapped,
        add_inverted=lambda m, operands, name: operands.words[0] + operands.words[1],
    )
    assert prove(SumProof(cells=wrong, form=form, width=5), wrong.model)[0] is Answer.REFUTED


COMMAND = ("rtl", "mac", "--scheme", "post-split", "--bits", "3", "--accumulation", "shared")


def test_cells_stand_in_the_verilog_where_a_target_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, options in (("ecp5", ("--target", "ecp5")), ("portable", ())):
        command = [*COMMAND, "--clear", "ahead", *options, "-o", str(tmp_path / folder)]
        assert main(command) == 0
    printed = capsys.readouterr().out
    assert "It holds carry cells of Lattice's ECP5 (CCU2C)." in printed
    assert "It is portable Verilog." in printed
    manifests = {
        name: json.loads((tmp_path / name / "manifest.json").read_text())
        for name in ("ecp5", "portable")
    }
    texts = {
        name: (tmp_path / name / manifest["files"]["verilog"]).read_text()
        for name, manifest in manifests.items()
    }
    assert manifests["ecp5"]["parameters"]["cells"] == "ecp5"
    assert "cells" not in manifests["portable"]["parameters"]
    assert texts["ecp5"].count("CCU2C #(") == 12
    assert "CCU2C" not in texts["portable"]


def test_a_folder_with_cells_runs_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "unit"
    assert main([*COMMAND, "--clear", "idle", "--target", "ecp5", "-o", str(folder)]) == 0
    files = json.loads((folder / "manifest.json").read_text())["files"]
    sources = [files[kind] for kind in ("testbench", "verilog", "cells")]
    assert f"{' '.join(sources)} && vvp" in (folder / files["testbench"]).read_text()
    assert (
        f"- {files['cells']}: {{file_type: verilogSource}}" in (folder / files["core"]).read_text()
    )
    run_iverilog(["-g2001", "-o", "tb", *sources], folder=folder)
    assert "PASS" in run_tool([find_iverilog()[1], "tb"], folder=folder, timeout_s=60)


def test_a_unit_that_has_no_use_for_cells_is_portable(tmp_path: Path) -> None:
    command = ["rtl", "mac", "--scheme", "uniform", "--bits", "3", "--target", "ecp5"]
    assert main([*command, "-o", str(tmp_path / "unit")]) == 0
    manifest = json.loads((tmp_path / "unit" / "manifest.json").read_text())
    assert "cells" not in manifest["parameters"]


def test_cells_of_another_target_are_refused() -> None:
    mac = Mac(scheme="post-split", accumulation="shared", clear="idle", cells=ECP5_CELLS)
    with pytest.raises(InputError, match="is made of ecp5 cells, which ice40 has not"):
        measure(mac, TARGETS.find("ice40"))
