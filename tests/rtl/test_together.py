"""Two emitted units of any kinds live in one project: Icarus, Verilator, Yosys, slang, FuseSoC."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from rtl.design import Design
from rtl.emit.folder import Emitted, emit
from rtl.emit.verilog import to_verilog
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.quantizer.ladder import LadderQuantizer
from rtl.tools import find_iverilog, run_iverilog, run_tool, run_verilator, run_yosys
from tests.helpers.units import UNITS, two_stage_adapter

pytest.importorskip("pyosys")
pytest.importorskip("fusesoc")

# Alike in kind and widths, so that only what no name said before tells them apart.
ADAPTERS = (two_stage_adapter(), two_stage_adapter(first_weight=8))
QUANTIZERS = (LadderQuantizer(bits=2, feature_bits=6), LadderQuantizer(bits=2, feature_bits=7))
PARTS = (
    Mac(scheme="uniform", weight_bits=2, activation_bits=2, accumulator_bits=8),
    DotProduct(mac=Mac(scheme="pot", weight_bits=2, activation_bits=2), lanes=2),
)
TOGETHER: tuple[Design, ...] = (*ADAPTERS, *QUANTIZERS, *PARTS)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Emitted]]:
    root = tmp_path_factory.mktemp("project")
    return root, [emit(each, root / each.name, operations=100) for each in TOGETHER]


def sources(units: list[Emitted], *kinds: str) -> list[Path]:
    return [unit.folder / unit.files[kind] for unit in units for kind in kinds]


def test_no_two_units_share_a_file_or_a_module(project: tuple[Path, list[Emitted]]) -> None:
    _, units = project
    names = [name for unit in units for what, name in unit.files.items() if what != "manifest"]
    assert len(set(names)) == len(names)


def test_no_two_modules_of_any_units_share_a_name() -> None:
    modules: dict[str, set[str]] = {}
    for unit in (*UNITS, *TOGETHER):
        lines = to_verilog(unit).splitlines()
        found = {line.split("(")[0].split()[1] for line in lines if line.startswith("module ")}
        assert unit.name in found
        modules[unit.name] = found
    for (one, first), (other, second) in combinations(modules.items(), 2):
        assert not first & second, (one, other)


def test_icarus_runs_all_test_benches_in_one_program(project: tuple[Path, list[Emitted]]) -> None:
    root, units = project
    benches = [f"{unit.top}_tb" for unit in units]
    for unit in units:
        vectors = unit.files["vectors"]
        (root / vectors).write_bytes((unit.folder / vectors).read_bytes())
    roots = [part for name in benches for part in ("-s", name)]
    run_iverilog(
        ["-g2001", *roots, "-o", "all", *sources(units, "testbench", "verilog")], folder=root
    )
    said = run_tool([find_iverilog()[1], "-n", "all", "+together"], folder=root, timeout_s=100)
    assert [f"PASS: {unit.top}," in said for unit in units] == [True] * len(units)


def both(units: list[Emitted]) -> str:
    """A module that holds an instance of each unit, unconnected but for the clock."""
    instances = "".join(f"  {unit.top} {unit.top}_i (.clk(clk));\n" for unit in units)
    return f"`timescale 1ns / 1ps\nmodule both(input clk);\n{instances}endmodule\n"


def test_verilator_and_yosys_take_them_in_one_module(project: tuple[Path, list[Emitted]]) -> None:
    root, units = project
    (root / "both.v").write_text(both(units), encoding="ascii")
    given = [path.relative_to(root) for path in sources(units, "verilog")]
    options = ("--lint-only", "-Wno-PINMISSING", "--top-module", "both", "both.v")
    run_verilator([*options, *given], folder=root)
    read = "".join(f"read_verilog {path}\n" for path in ["both.v", *given])
    run_yosys(f"{read}hierarchy -check -top both\nproc\ncheck\n", folder=root)


_PROJECT = """\
CAPI=2:
name: "::both:1"
filesets:
  both: {{files: [both.v], file_type: verilogSource, depend: [{depend}]}}
targets:
  default: {{filesets: [both], toplevel: both}}
  lint:
    filesets: [both]
    toplevel: both
    default_tool: icarus
"""


def fusesoc(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from fusesoc.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", script, "--cores-root", ".", "run", *arguments],
        cwd=root,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_fusesoc_builds_a_project_of_both(project: tuple[Path, list[Emitted]]) -> None:
    root, units = project
    (root / "both.v").write_text(both(units), encoding="ascii")
    names = ", ".join(f'"asq-hw:rtl:{unit.top}"' for unit in units)
    (root / "both.core").write_text(_PROJECT.format(depend=names), encoding="ascii")
    done = fusesoc(root, "--build-root", "build", "--target", "lint", "--build", "::both:1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_fusesoc_s_simulation_says_by_its_status_whether_it_failed(
    project: tuple[Path, list[Emitted]], tmp_path: Path
) -> None:
    unit = emit(PARTS[0], tmp_path / "unit", operations=50)
    core = f"asq-hw:rtl:{unit.top}"
    done = fusesoc(tmp_path, "--build-root", "good", "--target", "sim", core)
    assert done.returncode == 0, done.stdout + done.stderr
    vectors = unit.folder / unit.files["vectors"]
    lines = vectors.read_text(encoding="ascii").splitlines()
    vectors.write_text("\n".join([*lines[:-1], lines[-1][:-1] + "5"]) + "\n", encoding="ascii")
    changed = vectors.read_text(encoding="ascii")
    vectors.write_text(changed.replace("_1_", "_0_", 3), encoding="ascii")
    done = fusesoc(tmp_path, "--build-root", "bad", "--target", "sim", core)
    assert "FAIL" in done.stdout + done.stderr
    assert done.returncode != 0
