"""Units and targets of other distributions: a stranger's package, and packages that are broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "helpers" / "toy_hardware.py"
GROUPS = {"TARGET": "asq_hw.targets", "UNIT": "asq_hw.units"}


def distribution(folder: Path, name: str, points: dict[str, dict[str, str]]) -> None:
    """Install a distribution of entry points by group: their names, and what they lead to."""
    place = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    sections = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in points.items()
    ]
    (place / "entry_points.txt").write_text("\n".join(sections))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy target and a toy unit, which no file of the project knows."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copy(TOY, folder / "toy_hardware.py")
    distribution(
        folder,
        "toy-hardware",
        {group: {"toy": f"toy_hardware:{name}"} for name, group in GROUPS.items()},
    )
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program with `folder` on its path."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "asq_hw.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def output(folder: Path, *arguments: str) -> str:
    """What a command prints that ends well and in silence on standard error."""
    done = run(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_stranger_s_unit_and_target_are_in_the_help(stranger: Path) -> None:
    for verb in ("rtl", "verify", "synth"):
        assert "toy " in output(stranger, verb, "--help")
    assert "$ asq-hw rtl toy --number-bits 5" in output(stranger, "rtl", "--help")
    assert "xilinx, gates, toy" in " ".join(output(stranger, "synth", "mac", "--help").split())
    assert "Width of the number." in output(stranger, "verify", "toy", "--help")


def test_a_stranger_s_unit_is_written(stranger: Path) -> None:
    options = ("-n", "5", "-o", "out", "--format", "json")
    document = json.loads(output(stranger, "rtl", "toy", *options))
    assert document["top"].startswith("triple_5_")
    assert (stranger / "out" / document["files"]["verilog"]).is_file()


def test_a_stranger_s_unit_is_checked_on_every_rung_that_it_has(stranger: Path) -> None:
    few = ("--cycles", "500", "--mutants", "10", "--format", "json")
    checks = json.loads(output(stranger, "verify", "toy", *few))["checks"]
    methods = [check["method"] for check in checks]
    assert methods == ["cosim", "formal", "mutation"]
    assert all(check["passed"] and check["cases"] for check in checks)
    refused = run(stranger, "verify", "toy", "--method", "exhaustive")
    assert refused.returncode == 2
    assert "method must be one of cosim, formal, mutation here" in refused.stderr


def test_a_stranger_s_target_measures_the_project_s_units_and_its_own(stranger: Path) -> None:
    options = ("--target", "gates,toy", "--format")
    unit = json.loads(output(stranger, "synth", "toy", *options, "json"))["rows"]
    assert [row["target"] for row in unit] == ["gates", "toy"]
    assert [row["ffs"] for row in unit] == [7, 7], "the triple of 6 bits, and valid"
    assert unit[0]["gates"] is None and unit[1]["gates"] == unit[1]["area"] > 4
    small = ("--scheme", "uniform", "--weight-bits", "2", "--activation-bits", "2")
    table = output(stranger, "synth", "mac", *small, *options, "table")
    assert "toy gates" in table
    assert (
        output(stranger, "synth", "mac", *small, *options, "csv").splitlines()[0].endswith("gates")
    )


BROKEN = {
    ("unit", "absent"): (
        "no_such_module:UNIT",
        "ModuleNotFoundError: No module named",
    ),
    ("unit", "clash"): ("clash:UNIT", "clash must not have two options of the name --format"),
    ("unit", "leaves"): ("leaving:NAME", "SystemExit: 3"),
    ("unit", "mac"): ("toy_hardware:UNIT", "the name is taken"),
    ("unit", "other"): ("toy_hardware:UNIT", "toy_hardware:UNIT calls itself 'toy'"),
    ("unit", "text"): ("os:name", "os:name must be a rtl.units.unit.Unit, not a str"),
    ("target", "moon"): ("no_such_module:TARGET", "ModuleNotFoundError: No module named 'no_such"),
    ("target", "ecp5"): ("toy_hardware:TARGET", "the name is taken"),
}


CLASH = """\
from rtl.units.option import Option
from toy_hardware import UNIT as TOY

class Clash(type(TOY)):
    name = "clash"
    options = (Option(name="of_its_own", flags=("--format",), help="Taken."),)

UNIT = Clash()
"""


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution whose entry points all lead nowhere, each in its own way."""
    folder = tmp_path_factory.mktemp("half-done")
    shutil.copy(TOY, folder / "toy_hardware.py")
    (folder / "clash.py").write_text(CLASH)
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")
    points: dict[str, dict[str, str]] = {"asq_hw.units": {}, "asq_hw.targets": {}}
    for (kind, name), (leads_to, _) in BROKEN.items():
        points[f"asq_hw.{kind}s"][name] = leads_to
    distribution(folder, "half-done", points)
    return folder


def test_broken_plug_ins_are_a_line_each_and_break_nothing(half_done: Path) -> None:
    helped = run(half_done, "synth", "--help")
    assert helped.returncode == 0 and "quantizer" in helped.stdout
    lines = helped.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    for (kind, name), (_, reason) in BROKEN.items():
        said = f"asq-hw: warning: {kind} {name} of half-done 1.0 cannot be used: {reason}"
        assert [line for line in lines if line.startswith(said)], name


def test_a_broken_plug_in_that_is_asked_for_is_an_error(half_done: Path) -> None:
    for asked in (("rtl", "absent"), ("verify", "clash"), ("synth", "pooling", "--target", "moon")):
        refused = run(half_done, *asked)
        assert (refused.returncode, refused.stdout) == (2, "")
        *_, last = refused.stderr.splitlines()
        assert last.startswith("asq-hw: error: ") and "of half-done 1.0 cannot be used" in last
        assert refused.stderr.count(f" {asked[-1]} of half-done") == 1
        assert "Traceback" not in refused.stderr


def test_other_commands_ask_for_no_plug_in(half_done: Path) -> None:
    assert "post" in output(half_done, "levels", "post", "--bits", "3")
    assert "rtl" in output(half_done, "--help")
