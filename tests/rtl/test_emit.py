"""Emitted folders: they stand alone, notice a change, and appear whole or not at all."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from asq_hw.errors import InputError
from rtl import tools
from rtl.design import Design, Port, Rows
from rtl.emit.constraints import constraints
from rtl.emit.folder import MANIFEST, Emitted, emit
from rtl.emit.manifest import manifest
from rtl.emit.vectors import Vectors, row_fields
from rtl.emit.verilog import to_verilog
from rtl.mac.design import Mac
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.tools import MissingToolError, find_iverilog, find_verilator, find_yosys
from tests.helpers.hardware import PlainMac


class Simulate(Protocol):
    def __call__(self, folder: Path, top: str, *, fails: bool = False) -> str: ...


def missing(*finders: Callable[[], object]) -> str:
    """Which tool is missing and how to get it; empty where all are there."""
    for find in finders:
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


needs_yosys = pytest.mark.skipif(bool(missing(find_yosys)), reason=missing(find_yosys))


def run(
    command: Sequence[str], folder: Path, environment: dict[str, str], *, fails: bool = False
) -> str:
    """Run a program with nothing of this project in its environment."""
    plain = {"PATH": "/usr/local/bin:/usr/bin:/bin", **environment}
    done = subprocess.run(
        command, cwd=folder, env=plain, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout


def with_verilator(folder: Path, top: str, *, fails: bool = False) -> str:
    program, environment = find_verilator()
    options = ("--binary", "--timing", "-Wno-fatal", "-MAKEFLAGS", "OPT_GLOBAL=-O0 OPT_FAST=-O0")
    run(
        [program, *options, "--top-module", f"{top}_tb", f"{top}_tb.v", f"{top}.v"],
        folder,
        environment,
    )
    return again_with_verilator(folder, top, fails=fails)


def again_with_verilator(folder: Path, top: str, *, fails: bool = False) -> str:
    return run([f"./obj_dir/V{top}_tb"], folder, {}, fails=fails)


def with_icarus(folder: Path, top: str, *, fails: bool = False) -> str:
    compiler, _ = find_iverilog()
    run([compiler, "-g2001", "-o", f"{top}_tb", f"{top}_tb.v", f"{top}.v"], folder, {})
    return again_with_icarus(folder, top, fails=fails)


def again_with_icarus(folder: Path, top: str, *, fails: bool = False) -> str:
    return run([find_iverilog()[1], "-n", f"{top}_tb"], folder, {}, fails=fails)


AGAIN = {with_verilator: again_with_verilator, with_icarus: again_with_icarus}


SIMULATORS = [
    pytest.param(
        simulate,
        marks=pytest.mark.skipif(bool(missing(find)), reason=missing(find)),
        id=simulate.__name__,
    )
    for simulate, find in ((with_verilator, find_verilator), (with_icarus, find_iverilog))
]
DESIGNS: tuple[Design, ...] = (PlainMac(), LadderQuantizer(bits=3, feature_bits=8))


@needs_yosys
@pytest.mark.parametrize("simulate", SIMULATORS)
def test_a_folder_stands_alone_and_notices_a_changed_line(
    simulate: Simulate, tmp_path: Path
) -> None:
    design = PlainMac()
    emitted = emit(design, tmp_path / "mac", operations=500)
    assert f"PASS: {emitted.top}, 500 results" in simulate(emitted.folder, emitted.top)
    source = emitted.folder / emitted.files["verilog"]
    text = source.read_text(encoding="utf-8")
    changed, count = re.subn(r"(activation \}\) )\*( \$signed\(weight)", r"\1+\2", text)
    assert count == 1
    source.write_text(changed, encoding="utf-8")
    report = simulate(emitted.folder, emitted.top, fails=True)
    assert f"FAIL: {emitted.top}" in report and "PASS" not in report


@needs_yosys
@pytest.mark.parametrize("simulate", SIMULATORS)
def test_vectors_that_are_missing_or_cut_short_are_a_failure(
    simulate: Simulate, tmp_path: Path
) -> None:
    emitted = emit(PlainMac(), tmp_path / "mac", operations=20)
    assert "PASS" in simulate(emitted.folder, emitted.top)
    vectors = emitted.folder / emitted.files["vectors"]
    lines = vectors.read_text(encoding="ascii").splitlines(keepends=True)
    for kept in (lines[:-1], lines[:10], []):
        vectors.write_text("".join(kept), encoding="ascii")
        assert "PASS" not in AGAIN[simulate](emitted.folder, emitted.top, fails=True)
    vectors.unlink()
    assert "PASS" not in AGAIN[simulate](emitted.folder, emitted.top, fails=True)


@needs_yosys
@pytest.mark.parametrize("simulate", SIMULATORS[1:])
def test_the_quantizer_s_folder_stands_alone(simulate: Simulate, tmp_path: Path) -> None:
    emitted = emit(DESIGNS[1], tmp_path, operations=500)
    assert f"PASS: {emitted.top}, " in simulate(emitted.folder, emitted.top)


@needs_yosys
@pytest.mark.parametrize("simulate", SIMULATORS[1:])
def test_a_reset_that_forgets_nothing_is_noticed(simulate: Simulate, tmp_path: Path) -> None:
    emitted = emit(PlainMac(), tmp_path, operations=500)
    source = emitted.folder / emitted.files["verilog"]
    text = source.read_text(encoding="utf-8")
    assert text.count("if (rst) accumulator <=") == 1
    source.write_text(text.replace("if (rst) acc", "if (1'b0) acc"), encoding="utf-8")
    assert "FAIL" in simulate(emitted.folder, emitted.top, fails=True)


@pytest.fixture(scope="module", params=DESIGNS, ids=lambda design: design.name)
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    if reason := missing(find_yosys):
        pytest.skip(reason)
    return emit(request.param, tmp_path_factory.mktemp("rtl") / "out", operations=50)


def test_the_manifest_names_every_file_and_port(emitted: Emitted) -> None:
    document = json.loads((emitted.folder / MANIFEST).read_text(encoding="utf-8"))
    design = emitted.vectors.design
    assert set(document["files"].values()) == {path.name for path in emitted.folder.iterdir()}
    assert document["top"] == design.name
    assert document["latency_cyc"] == design.latency_cyc
    assert document["parameters"] == design.parameters
    assert document["interval_cyc"] == 1
    pause = design.pause
    assert document["idle_cyc"] == (pause.idle_cyc if pause else 0)
    assert document["idle_after"] == (pause.after if pause else None)
    assert document["layer"] is None
    assert design.name.endswith(document["digest"][:10]) and len(document["digest"]) == 64
    assert [port["name"] for port in document["ports"]] == [
        *("clk", "rst"),
        *(port.name for port in design.ports),
    ]
    assert all(
        port.keys() == {"name", "direction", "width", "signed", "meaning"} and port["meaning"]
        for port in document["ports"]
    )
    assert document["vectors"]["operations"] == 50


@needs_yosys
def test_the_manifest_tells_what_deferred_signs_add(tmp_path: Path) -> None:
    mac = Mac(scheme="pot", weight_bits=2, activation_bits=3, signs="deferred")
    emitted = emit(mac, tmp_path / "mac", operations=20)
    document = json.loads((emitted.folder / MANIFEST).read_text(encoding="utf-8"))
    # Codes 0, 1 and 3 are 0, 1 and -1; the last one meets 7 - q.
    assert document["excess_by_code"] == {"accumulator": {"0": 0, "1": 0, "3": 7}}
    assert document["parameters"]["signs"] == "deferred"
    assert "excess_by_code" not in manifest(replace(mac, signs="immediate"), emitted.vectors, {})


def test_the_module_has_the_manifest_s_ports_in_order(emitted: Emitted) -> None:
    text = (emitted.folder / emitted.files["verilog"]).read_text(encoding="utf-8")
    found = re.search(rf"^module {emitted.top}\((.*?)\);", text, re.MULTILINE)
    assert found is not None
    names = ["clk", "rst", *(port.name for port in emitted.vectors.design.ports)]
    assert found[1].split(", ") == names


def test_the_header_names_parameters_and_nothing_of_this_machine(emitted: Emitted) -> None:
    text = (emitted.folder / emitted.files["verilog"]).read_text(encoding="utf-8")
    header = text.split("`timescale")[0]
    for name in emitted.vectors.design.parameters:
        assert f"//   {name} = " in header
    assert "/tmp" not in text and "src =" not in text
    assert "in every cycle (interval_cyc = 1)" in header
    pause = emitted.vectors.design.pause
    if pause:
        assert f"behind {pause.after},\n" in header and f"(idle_cyc = {pause.idle_cyc})" in header


def test_the_core_file_names_files_that_are_there(emitted: Emitted) -> None:
    text = (emitted.folder / emitted.files["core"]).read_text(encoding="utf-8")
    assert text.startswith("CAPI=2:\n")
    names = set(re.findall(rf"\b{emitted.top}\w*\.(?:v|mem|lpf|pcf|xdc)\b", text))
    assert len(names) == 6
    assert all((emitted.folder / name).is_file() for name in names)


def test_modules_in_modules_have_plain_names() -> None:
    if reason := missing(find_yosys):
        pytest.skip(reason)
    text = to_verilog(LadderQuantizer(bits=2, feature_bits=6))
    assert "\\asq" not in text


def test_constraints_state_the_clock() -> None:
    texts = constraints(125)
    assert texts["lpf"] == 'FREQUENCY PORT "clk" 125 MHZ;\n'
    assert texts["pcf"] == "set_frequency clk 125\n"
    assert "-period 8.000 " in texts["xdc"]


@pytest.mark.parametrize("clock", [0.0, -1.0, 2001.0, float("nan")])
def test_a_clock_that_cannot_be_is_refused(clock: float) -> None:
    with pytest.raises(InputError, match="the clock must be above 0"):
        constraints(clock)


def test_a_folder_that_is_a_file_is_refused_untouched(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for target in (file, file / "inside"):
        with pytest.raises(InputError, match="is a file, not a folder"):
            emit(PlainMac(), target)
    assert file.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [file]


@needs_yosys
def test_a_failure_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rtl.emit.folder.os.rename", full)
    with pytest.raises(InputError, match="No space left"):
        emit(PlainMac(), tmp_path / "out", operations=20)
    assert list(tmp_path.iterdir()) == []


@needs_yosys
def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    first = emit(PlainMac(), tmp_path, operations=20)
    emit(PlainMac(), tmp_path, operations=30)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    document = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert (document["top"], document["vectors"]["operations"]) == (first.top, 30)


@needs_yosys
def test_a_folder_that_holds_another_unit_is_left_alone_unless_forced(tmp_path: Path) -> None:
    first = emit(PlainMac(), tmp_path, operations=20)
    (tmp_path / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = PlainMac(weight_bits=4)
    with pytest.raises(InputError) as raised:
        emit(other, tmp_path, operations=20)
    said = str(raised.value)
    assert str(tmp_path) in said and first.top in said and other.name in said and "--force" in said
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    second = emit(other, tmp_path, operations=20, force=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*second.files.values(), "notes.txt"}


FOREIGN = {
    "not JSON": "old",
    "another program's": '{"name": "web", "top": "plain_mac"}',
    "a list": "[1, 2]",
    "no top": '{"format": "asq-hw hardware", "files": {}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_manifest_of_something_else_is_not_overwritten(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="holds a manifest.json that is not of an emitted unit"):
        emit(PlainMac(), tmp_path, operations=20)
    assert (tmp_path / MANIFEST).read_text() == text


@needs_yosys
def test_replacing_a_unit_removes_plain_names_in_the_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "outside.v").write_text("kept")
    files = {"verilog": "../outside.v", "core": "old.core", "other": 3}
    text = json.dumps({"format": "asq-hw hardware", "top": "old", "files": files})
    (tmp_path / "out" / MANIFEST).write_text(text)
    (tmp_path / "out" / "old.core").write_text("removed")
    emit(PlainMac(), tmp_path / "out", operations=20, force=True)
    assert (tmp_path / "outside.v").read_text() == "kept"
    assert not (tmp_path / "out" / "old.core").exists()


def test_a_missing_tool_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda _: None)
    monkeypatch.setattr(tools.shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"pyosys .* pip install 'asq-hw\[eda\]'"):
        emit(PlainMac(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# Vectors


def test_a_row_holds_every_port_in_order() -> None:
    design = PlainMac()
    rows: Rows = {
        "start": np.array([1, 0]),
        "activation": np.array([7, 1]),
        "weight": np.array([7, 3]),
    }
    vectors = Vectors.of(design, rows, gaps=np.array([1, 0]))
    first, gap, last = "".join(vectors.lines()).splitlines()
    # valid_in, start, activation, weight (code 7 is -1), valid_out, accumulator
    assert first == "1_1_7_7_1_ff9"
    assert last == "1_0_1_3_1_ffc"
    assert gap[0] == "0" and gap[8:] == "0_000"
    assert (vectors.cycles, vectors.operations, vectors.checked) == (3, 2, 2)


def test_fields_do_not_overlap() -> None:
    fields = row_fields(LadderQuantizer(bits=5, feature_bits=11))
    places = [set(range(field.low, field.low + field.port.width)) for field in fields]
    assert sum(map(len, places)) == len(set().union(*places))
    ports: list[Port] = [field.port for field in fields]
    assert ports == list(LadderQuantizer(bits=5, feature_bits=11).ports)


def test_some_gaps_are_longer_than_all_that_a_design_does_by_itself() -> None:
    """A feature that began a step would otherwise never be seen: another operation ends it."""
    design = ReciprocalQuantizer(bits=3, feature_bits=8)
    vectors = Vectors.random(design, 4000)
    taken = np.flatnonzero(vectors.columns["valid_in"])
    is_load = vectors.columns["load"][taken[:-1]] == 1
    gaps = np.diff(taken) - 1
    assert gaps[~is_load].max() > design.load_cyc
    assert (gaps[~is_load] == 0).mean() > 0.8


def test_a_design_s_idle_cycles_are_kept() -> None:
    design = LadderQuantizer(bits=3, feature_bits=8)
    vectors = Vectors.random(design, 300)
    taken = np.flatnonzero(vectors.columns["valid_in"])
    loads = np.flatnonzero(vectors.columns["valid_in"] & vectors.columns["load"])
    behind = taken[np.searchsorted(taken, loads[:-1]) + 1] - loads[:-1]
    assert (behind > design.load_cyc).all()
