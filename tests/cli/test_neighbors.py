"""Somebody else's package of a name that is ours too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Completed = subprocess.CompletedProcess[str]
OVERHEAD = ("overhead", "resnet20")
RTL = ("rtl", "pooling", "--elements", "4", "--multiplier", "3", "-o", "unit")


def run(
    folder: Path, *arguments: str, main: str = "asq_hw.cli"
) -> subprocess.CompletedProcess[str]:
    """The program with the working folder in front on Python's path, as ``python -m`` has it."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", main, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("analysis.py", OVERHEAD), ("analysis/__init__.py", OVERHEAD), ("rtl.py", RTL)],
)
def test_a_strangers_module_in_the_way_is_named_and_not_run(
    tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    stranger = tmp_path / name
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_text("print('the stranger runs')\n")
    result = run(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert str(stranger) in result.stderr
    assert "in the way" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_simulation_needs_no_analysis_and_runs_beside_a_stranger(tmp_path: Path) -> None:
    (tmp_path / "analysis.py").write_text("raise RuntimeError\n")
    result = run(tmp_path, "simulate", "--limit", "1", "--format", "json")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [OVERHEAD, RTL])
def test_a_folder_of_the_name_without_python_in_it_is_no_obstacle(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "rtl").mkdir()
    (tmp_path / "analysis").mkdir()
    (tmp_path / "rtl" / "top.v").write_text("module top; endmodule\n")
    assert run(tmp_path, *arguments).returncode == 0


def test_a_stranger_that_is_loaded_already_is_named(tmp_path: Path) -> None:
    (tmp_path / "analysis.py").write_text("")
    (tmp_path / "start.py").write_text(
        "import sys, analysis\n"
        "from asq_hw.cli import main\n"
        "sys.exit(main(['overhead', 'resnet20']))\n"
    )
    result = run(tmp_path, main="start")
    assert result.returncode == 2
    assert str(tmp_path / "analysis.py") in result.stderr
