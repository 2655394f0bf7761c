"""Emitted Verilog is clean where others read it: Verilator at its defaults and -Wall, and slang."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rtl.design import Design
from rtl.emit.testbench import testbench as bench_of
from rtl.emit.verilog import WAIVERS, to_verilog, whole_verilog
from rtl.tools import find_verilator
from tests.helpers.units import UNITS

pyslang = pytest.importorskip("pyslang")
pytest.importorskip("pyosys")


@pytest.fixture(scope="module", params=UNITS, ids=lambda design: design.name)
def unit(request: pytest.FixtureRequest) -> tuple[Design, str]:
    return request.param, whole_verilog(request.param)


def verilator(folder: Path, top: str, *options: str) -> tuple[int, str]:
    program, environment = find_verilator()
    done = subprocess.run(
        [program, "--lint-only", *options, f"{top}.v", "--top-module", top],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def slang_problems(text: str) -> list[str]:
    """Every diagnostic of a default run of slang, warnings among them."""
    tree = pyslang.syntax.SyntaxTree.fromText(text)
    compilation = pyslang.ast.Compilation()
    compilation.addSyntaxTree(tree)
    engine = pyslang.DiagnosticEngine(tree.sourceManager)
    engine.setWarningOptions(["default"])
    return [
        engine.formatMessage(each)
        for each in compilation.getAllDiagnostics()
        if engine.getSeverity(each.code, each.location) != pyslang.DiagnosticSeverity.Ignored
    ]


def test_verilator_warns_of_nothing(unit: tuple[Design, str], tmp_path: Path) -> None:
    design, text = unit
    (tmp_path / f"{design.name}.v").write_text(text, encoding="ascii")
    for options in ((), ("-Wall",)):
        status, said = verilator(tmp_path, design.name, *options)
        assert (status, re.findall(r"%\w+-?\w*: [^\n]*", said)) == (0, [])


@pytest.mark.parametrize("before", ["", "`default_nettype none\n"])
def test_slang_warns_of_nothing(unit: tuple[Design, str], before: str) -> None:
    assert slang_problems(before + unit[1]) == []


def test_the_test_bench_is_clean_too(tmp_path: Path) -> None:
    design = UNITS[0]
    text = to_verilog(design)
    assert slang_problems("`default_nettype none\n" + text + bench_of(design, 100)) == []
    (tmp_path / f"{design.name}.v").write_text(text, encoding="ascii")
    (tmp_path / f"{design.name}_tb.v").write_text(bench_of(design, 100), encoding="ascii")
    status, said = verilator(tmp_path, f"{design.name}_tb", "--timing", f"{design.name}.v")
    assert (status, said.count("%Warning")) == (0, 0)


def test_each_waiver_stands_with_its_reason_and_ends_with_the_file(
    unit: tuple[Design, str],
) -> None:
    text = to_verilog(unit[0])
    for code, reason in WAIVERS.items():
        assert f"// {code}: {reason}.\n/* verilator lint_off {code} */\n" in text
        assert text.count(f"/* verilator lint_on {code} */") == 1
    assert set(re.findall(r"lint_off (\w+)", text)) == WAIVERS.keys()


def test_a_fault_that_is_not_waived_is_seen(tmp_path: Path) -> None:
    design = UNITS[0]
    changed = to_verilog(design).replace(
        "valid_in;\n", "valid_in;\n  assign undeclared[1] = 1'b0;\n", 1
    )
    (tmp_path / f"{design.name}.v").write_text(changed, encoding="ascii")
    assert verilator(tmp_path, design.name)[0] != 0
    assert slang_problems(changed) != []
    assert slang_problems("`default_nettype none\nmodule m; assign x = 1'b0; endmodule\n") != []
