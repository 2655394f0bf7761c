"""Every program of the project ends in one line at most, and quietly where its reader leaves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from asq_hw.errors import ExternalToolError, InputError, StorageError
from asq_hw.guard import guarded
from tests.helpers.processes import ROOT

PATIENCE = 300
PROGRAMS = sorted(
    path.relative_to(ROOT)
    for folder in ("asq_hw", "rtl", "analysis", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if '\nif __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", PROGRAMS, ids=str)
def test_every_program_has_the_guard_at_its_door(path: Path) -> None:
    last = ast.parse((ROOT / path).read_text(encoding="utf-8")).body[-1]
    assert isinstance(last, ast.If)
    inside = {node.id for node in ast.walk(last) if isinstance(node, ast.Name)}
    # The main of the command line is guarded itself.
    assert "guarded" in inside or path == Path("asq_hw/cli/__main__.py")


@pytest.mark.parametrize(
    "arguments", ["asq_hw.conformance", "analysis.studies.mac_tables docs/data"]
)
def test_the_reader_of_a_program_may_leave_early(arguments: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", *arguments.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=PATIENCE) == 141


def test_bad_input_to_a_module_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis.studies.mac_figure", "no such rows.csv", "x.svg"],
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    said = b"analysis.studies.mac_figure: error: no such rows.csv cannot be read: No such file"
    assert done.returncode == 2 and done.stderr.startswith(said)
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 2),
        (StorageError("x"), 1),
        (ExternalToolError("x"), 1),
        (MemoryError(), 1),
        (OSError(28, "No space left on device"), 1),
        (BrokenPipeError(), 141),
        (KeyboardInterrupt(), 130),
        (RecursionError("x"), 70),
    ],
)
def test_what_is_raised_becomes_a_status(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    assert guarded("prog", work) == status
    said = capsys.readouterr().err
    assert said == "" if status == 141 else said.startswith("prog: ") and said.count("\n") == 1


def test_argparse_may_end_a_program() -> None:
    assert guarded("prog", lambda: None) == 0
    assert guarded("prog", lambda: 1) == 1
    with pytest.raises(SystemExit):
        guarded("prog", lambda: sys.exit(2))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("a\nb \x1b[31m"), "a b \\x1b[31m"),
        (FileNotFoundError(2, "No such file", "a b"), "a b: No such file"),
        (FileNotFoundError(2, "No such file", b"a\xff"), "a\\udcff: No such file"),
    ],
)
def test_what_is_said_is_one_line_that_no_terminal_obeys(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    assert guarded("prog", work) == 2
    assert capsys.readouterr().err == f"prog: error: {message}\n"


def test_a_bug_whose_message_cannot_be_made_is_a_bug() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def work() -> int:
        raise MuteError

    assert guarded("prog", work) == 70
