"""The program as its users and other programs see it: results, exit status, one-line errors."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from asq_hw import __version__, cli
from asq_hw.cli import main
from asq_hw.cli.app import worked_examples
from asq_hw.doctor import examine
from asq_hw.errors import StorageError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM = [sys.executable, "-m", "asq_hw.cli"]
PATIENCE = 600  # seconds until a test gives up; a first simulation compiles

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed in silence on standard error; return its output."""

    def run_command(*arguments: str) -> str:
        status = main(arguments)
        output, errors = capsys.readouterr()
        assert (status, errors) == (0, "")
        return output

    return run_command


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must fail as bad input; return its one line."""

    def run_command(*arguments: str) -> str:
        status = main(arguments)
        output, errors = capsys.readouterr()
        assert (status, output) == (2, "")
        assert errors.startswith("asq-hw: error: ")
        assert errors.count("\n") == 1 and errors.endswith("\n")
        return errors

    return run_command


# Help


def test_help_lists_every_command(run: Run) -> None:
    text = run("--help")
    assert [name for name in worked_examples() if f" {name} " not in text] == []


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: asq-hw" in capsys.readouterr().out


def test_version(run: Run) -> None:
    assert run("--version") == f"asq-hw {__version__}\n"


@pytest.mark.parametrize("command", worked_examples())
def test_each_command_shows_its_worked_examples(run: Run, command: str) -> None:
    text = " ".join(run(command, "--help").split())
    for example in worked_examples()[command]:
        assert f"$ {example}" in text


def test_the_help_of_train_lists_what_there_is(run: Run) -> None:
    text = " ".join(run("train", "--help").split())
    for name in ("digits-float", "resnet20", "fashion-mnist", "post", "asq"):
        assert name in text


# overhead and levels: the paper's numbers


def test_overhead_prints_table_1_of_the_paper(run: Run) -> None:
    document = json.loads(run("overhead", "resnet18", "--bits", "2,3,4,8", "--format", "json"))
    assert (document["network"], document["convention"]) == ("resnet18", "paper")
    printed = [
        (row["bits"], f"{row['param_percent']:.2f}", f"{row['compute_percent']:.2f}")
        for row in document["rows"]
    ]
    assert printed == [
        (2, "10.67", "0.14"),
        (3, "7.11", "0.10"),
        (4, "5.34", "0.07"),
        (8, "2.67", "0.04"),
    ]


def test_json_numbers_are_not_rounded(run: Run) -> None:
    row = json.loads(run("overhead", "resnet18", "--bits", "3", "--format", "json"))["rows"][0]
    adapters, network = row["adapter_weights"], row["network_weights"]
    assert row["param_percent"] == pytest.approx(
        100 * 8 * adapters / (3 * (network + adapters)), rel=1e-15
    )


def test_overhead_table_is_for_people(run: Run) -> None:
    text = run("overhead", "resnet18")
    assert "10.67" in text and "306,112" in text


def test_overhead_per_layer_adds_up(run: Run) -> None:
    arguments = ("overhead", "resnet20", "--bits", "4", "--per-layer", "--format")
    document = json.loads(run(*arguments, "json"))
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "csv"))))
    total = document["rows"][0]["adapter_weights"]
    assert sum(layer["adapter_weights"] for layer in document["layers"]) == total
    assert sum(int(row["adapter_weights"]) for row in rows) == total


def test_the_grid_changes_what_is_stored(run: Run) -> None:
    def bits(grid: str) -> int:
        text = run(
            *("overhead", "resnet20", "--bits", "4", "--convention", "stored"),
            *("--grid", grid, "--format", "json"),
        )
        stored: int = json.loads(text)["rows"][0]["weight_bits"]
        return stored

    assert bits("paper") > bits("packed") == bits("zero-free")


def test_levels_are_exact(run: Run) -> None:
    codes = json.loads(run("levels", "post", "--bits", "3", "--format", "json"))["codes"]
    magnitudes = {2**-1.0, 2**-0.5, 1.0}  # packed: the smallest of Eq. 17 is dropped
    values = [0.0, *(sign * m for m in magnitudes for sign in (1, -1))]
    assert sorted(code["value"] for code in codes) == pytest.approx(sorted(values))
    for code in codes:
        exact = (code["even"] + code["odd"] * math.sqrt(2)) / 2 ** code["shift"]
        assert code["value"] == pytest.approx(exact)


def test_levels_as_csv_and_markdown(run: Run) -> None:
    arguments = ("levels", "uniform", "--bits", "2", "--unsigned", "--format")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "csv"))))
    assert [(row["code"], float(row["value"])) for row in rows] == [
        ("0", 0.0),
        ("1", 0.25),
        ("2", 0.5),
        ("3", 0.75),
    ]
    lines = run(*arguments, "markdown").splitlines()
    assert len(lines) == 2 + 4
    assert len({line.count("|") for line in lines}) == 1


def test_levels_are_plotted(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "levels.png"
    run("levels", "post", "--bits", "3", "--plot", str(target))
    assert target.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [target]


# Bad input: exit 2 and one line that names the thing, the value and the rule


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("frobnicate", ["frobnicate"]),
        ("--frobnicate", ["--frobnicate"]),
        ("levels post", ["--bits"]),
        ("levels post --bits 17", ["bits", "2..8", "17"]),
        ("levels post --bits three", ["--bits", "integer", "three"]),
        ("levels cubic --bits 3", ["scheme", "uniform", "cubic"]),
        ("levels post --bits 3 --unsigned", ["unsigned", "uniform", "post"]),
        ("levels post --bits 3 --grid loose", ["grid", "packed", "loose"]),
        ("levels post --bits 3 --format yaml", ["--format", "json", "yaml"]),
        ("levels post --bits 3 --plot no/such/folder/x.png", ["no/such/folder"]),
        ("levels post --bits 3 --plot levels.xyz", [".png", "xyz"]),
        ("overhead resnet19", ["resnet19", "resnet18"]),
        ("overhead resnet18 --bits 17", ["bits", "2..8", "17"]),
        ("overhead resnet18 --bits 2,x", ["bits", "2,x"]),
        ("overhead resnet18 --input 0", ["input", "0"]),
        ("overhead resnet18 --convention mine", ["convention", "stored", "mine"]),
        ("overhead .", ["."]),
        ("overhead pyproject.toml", ["pyproject.toml"]),
        ("simulate no-such.asq", ["no-such.asq"]),
        ("simulate pyproject.toml", ["pyproject.toml"]),
        ("simulate .", ["."]),
        ("simulate --limit -1", ["limit", "at least 1", "-1"]),
        ("simulate --limit 0", ["limit", "at least 1", "0"]),
        ("simulate --limit many", ["--limit", "integer", "many"]),
        ("simulate --threads 0", ["threads", "0"]),
        ("simulate --data no-such-data", ["no-such-data", "fashion-mnist"]),
        ("simulate --product exact", ["product", "post-split", "exact"]),
        ("simulate --lut-fraction-bits 99", ["fraction bits", "0..15", "99"]),
        ("simulate --limit 1 --trace pyproject.toml", ["pyproject.toml"]),
        ("simulate --limit 1 --compare no-such-folder", ["no-such-folder"]),
        ("train --recipe no-such-recipe", ["no-such-recipe", "digits-float"]),
        ("train --recipe digits-float --set epochs=none", ["epochs", "none"]),
        ("train --recipe digits-float --set color=red", ["color"]),
        ("train --recipe digits-float -o pyproject.toml", ["pyproject.toml"]),
        ("train --recipe digits-float -o out --init no-such.pt", ["no-such.pt"]),
        ("train --recipe digits-float --set epochs=inf", ["epochs", "inf"]),
        ("train --recipe digits-float --set name=../esc", ["name", "../esc"]),
        ("train --recipe digits-float --set seed=99999999999999999999", ["seed", "4294967295"]),
        ("train --recipe digits-float -o out --threads 3000000000", ["threads", "3000000000"]),
        ("simulate --limit 1 --threads 3000000000", ["threads", "1..4096", "3000000000"]),
        ("simulate --limit 1 --memory-limit 1K", ["memory limit of 1024"]),
        ("simulate --limit 1 --memory-limit much", ["--memory-limit", "4G", "much"]),
        ("simulate --limit 1 --cluster tls://127.0.0.1:1", ["tls://127.0.0.1:1", "certificates"]),
        ("eval no-such.pt", ["no-such.pt"]),
        ("eval pyproject.toml", ["pyproject.toml"]),
        ("export no-such.pt -o x.asq", ["no-such.pt"]),
        ("export no-such.pt", ["--output"]),
    ],
)
def test_bad_input_is_one_line(
    complaint: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: str,
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    message = complaint(*arguments.split())
    assert [word for word in said if word not in message] == []
    left = {path.name for path in tmp_path.iterdir()} - {"pyproject.toml", "out"}
    assert not left, "something was written"


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", ""),
        ("simulate", "--data", ""),
        ("simulate", "--data="),
        ("train", "--recipe", "digits-float", "-o", ""),
        ("export", "x.pt", "-o", ""),
        ("",),
    ],
)
def test_an_empty_string_is_no_path(complaint: Run, arguments: tuple[str, ...]) -> None:
    assert "empty string" in complaint(*arguments)


def test_a_bug_of_ours_is_one_line_that_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(arguments: list[str]) -> int:
        raise ZeroDivisionError("of\nours \x1b[31m")

    monkeypatch.setattr(cli, "_run", broken)
    monkeypatch.delenv("ASQ_HW_DEBUG", raising=False)
    assert main([]) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "\x1b" not in said
    assert "ZeroDivisionError at test_cli.py:" in said and "please report it" in said
    monkeypatch.setenv("ASQ_HW_DEBUG", "1")
    assert main([]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_without_torch_training_says_what_to_install(
    complaint: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asq_hw.cli.requirements.find_spec", lambda name: None)
    assert "pip install 'asq-hw[train]'" in complaint("train", "--recipe", "digits-float")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(28, "No space left on device"), 1),
        (OSError(5, "Input/output error"), 1),
        (StorageError("No space"), 1),
        (ConnectionError("the cluster went away"), 1),
        (MemoryError(), 1),
        (FileNotFoundError(2, "No such file or directory", "x"), 2),
        (PermissionError(13, "Permission denied", b"x"), 2),
    ],
)
def test_only_bad_input_is_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
) -> None:
    def failing(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", failing)
    assert main([]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_closed_streams_and_ascii_are_no_bug() -> None:
    command = f"{sys.executable} -m asq_hw.cli"
    for text, status in {
        f"{command} levels post --bits 3 >&-": 1,
        f"{command} levels nonsense --bits 3 2>&-": 2,
        f"PYTHONIOENCODING=ascii {command} levels post --bits 3 >/dev/null": 0,
        f"PYTHONIOENCODING=ascii LC_ALL=C {command} simulate --help >/dev/null": 0,
        f"{command} levels post --bits 3 >/dev/full": 1,
    }.items():
        done = subprocess.run(
            text, shell=True, cwd=ROOT, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
        assert done.returncode == status, text
        assert done.stderr.count(b"\n") <= 1 and b"Traceback" not in done.stderr, done.stderr


# The process: streams and signals


@pytest.mark.parametrize(
    "arguments", ["levels post --bits 2 --format csv", "levels post --bits 8", "--help"]
)
def test_the_reader_of_a_pipe_may_leave_early(arguments: str) -> None:
    with subprocess.Popen(
        [*PROGRAM, *arguments.split()], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=PATIENCE) == 141


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, Callable[[], str]]]:
    """A file descriptor for a child's streams, and a function that reads what it wrote there."""
    ours, theirs = pty.openpty()

    def read() -> str:
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
            while part := os.read(ours, 65536):
                text += part
        return text.decode()

    yield theirs, read
    os.close(ours)


def output_on_a_terminal(*arguments: str, **environment: str) -> str:
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    with (
        terminal() as (end, read),
        subprocess.Popen(
            [*PROGRAM, *arguments], cwd=ROOT, stdin=end, stdout=end, stderr=end, env=variables
        ) as process,
    ):
        text = read()
        assert process.wait(timeout=PATIENCE) == 0
    return text


COLOR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def test_colors_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOR.search(output_on_a_terminal("--help"))
    assert not COLOR.search(output_on_a_terminal("--help", NO_COLOR="1"))
    piped = subprocess.run([*PROGRAM, "--help"], cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert piped.returncode == 0
    assert b"\x1b[" not in piped.stdout


def interrupt(process: subprocess.Popen[str], when: Callable[[], bool]) -> tuple[int, str]:
    """Press Ctrl-C once something has happened; return the exit status and standard error."""
    deadline = time.monotonic() + PATIENCE
    while not when():
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_an_interrupted_training_leaves_whole_files_and_can_go_on(tmp_path: Path) -> None:
    arguments = ("train", "--recipe", "digits-float", "-o", str(tmp_path), "--threads", "1")
    arguments += ("--set", "epochs=1000", "--set", "width=8")
    best, last = tmp_path / "best.pt", tmp_path / "last.pt"

    def an_epoch_is_saved() -> bool:
        return best.exists() and last.stat().st_mtime_ns > best.stat().st_mtime_ns

    status, errors = interrupt(start(*arguments), an_epoch_is_saved)
    assert status == 130
    assert errors.splitlines()[-1] == "asq-hw: interrupted"
    assert "Traceback" not in errors
    assert {path.name for path in tmp_path.iterdir()} == {"best.pt", "last.pt", "log.jsonl"}
    saved = last.stat().st_mtime_ns
    going_on = start(*arguments, "--resume")
    status, errors = interrupt(going_on, lambda: last.stat().st_mtime_ns > saved)
    assert status == 130
    assert not errors.startswith("epoch 1/")


# The whole way: every worked example, in order


# So few epochs leave no batch statistics that could be frozen, and learned 8-bit steps of so few
# channels run away.
SHORTER = ("--set", "epochs=4", "--set", "freeze_bn_epochs=0")
SMALLER = (*SHORTER, "--set", "width=8", "--set", "edge_weights=min-max", "--threads", "1")
BREVITAS = ROOT / "tests" / "interchange" / "files" / "digits-brevitas.onnx"
MYNET = """
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all worked examples were run, with shorter trainings of a narrower net."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "mynet.py").write_text(MYNET)
    shutil.copy(BREVITAS, folder / "brevitas.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in [line for lines in worked_examples().values() for line in lines]:
            smaller = SMALLER if " train " in command else ()
            with contextlib.redirect_stdout(io.StringIO()) as output:
                status = main([*command.split()[1:], *smaller])
            assert status == 0, command
            assert output.getvalue(), command
    return folder


def test_every_worked_example_runs(workplace: Path) -> None:
    assert (workplace / "digits.asq").is_file()


def test_an_exported_network_agrees_with_the_trained_one(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    simulated = json.loads(run("simulate", "digits.asq", "--data", "digits", "--format", "json"))
    checkpoint = "runs/digits-asq-post-w4a4/last.pt"
    evaluated = json.loads(run("eval", checkpoint, "--format", "json"))
    assert simulated["images"] == evaluated["images"] > 300
    assert simulated["reference_top1"] == evaluated["top1"]
    assert evaluated["top1"] > 0.5
    assert simulated["agreement"] > 0.9
    assert abs(simulated["top1"] - evaluated["top1"]) <= 1 - simulated["agreement"]
    assert simulated["images_per_second"] > 0


SIMULATE = ("simulate", "digits.asq", "--data", "digits", "--limit", "20")


def test_a_trace_is_compared_to_the_first_difference(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    assert main([*SIMULATE, "--trace", "trace"]) == 0
    assert main([*SIMULATE, "--compare", "trace", "--threads", "1", "--batch-size", "7"]) == 0
    assert "Every tensor is equal" in capsys.readouterr().out

    tensor = np.load("trace/conv2-codes.npy")
    here = tensor[3, 1, 2, 3]
    tensor[3, 1, 2, 3] = here + 1
    np.save("trace/conv2-codes.npy", tensor)
    assert main([*SIMULATE, "--compare", "trace", "--format", "json"]) == 1
    output, errors = capsys.readouterr()
    difference = json.loads(output)["difference"]
    assert (difference["tensor"], difference["index"]) == ("conv2-codes", [3, 1, 2, 3])
    assert (difference["actual"], difference["expected"]) == (here, here + 1)
    assert errors.count("\n") == 1
    assert f"conv2-codes[3, 1, 2, 3] is {here}, expected {here + 1}" in errors


def test_the_two_products_differ_in_a_trace(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    assert main([*SIMULATE, "--trace", "split"]) == 0
    assert main([*SIMULATE, "--compare", "split", "--product", "post-lut"]) == 1
    assert "not the trace in split" in capsys.readouterr().err


def test_simulate_says_what_programs_rely_on(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    document = json.loads(run(*SIMULATE, "--format", "json"))
    assert (document["model"], document["dataset"]) == ("digits_asq_post_w4a4", "digits")
    assert document["images"] == 20
    layers = {layer["name"]: layer for layer in document["layers"]}
    keys = {"name", "kind", "macs", "accumulator_bits", "saturated"}
    assert all(keys <= layer.keys() for layer in layers.values())
    assert layers["fc"]["macs"] == 2 * 8 * 10
    steps = layers["conv2"]["step_size"]
    assert 0 < steps["min"] <= steps["mean"] <= steps["max"]
    assert "step_size" not in layers["fc"], "the last layer's step is fixed"
    rows = list(csv.DictReader(io.StringIO(run(*SIMULATE, "--format", "csv"))))
    assert [row["name"] for row in rows] == list(layers)
    assert float(rows[list(layers).index("conv2")]["step_size_mean"]) == steps["mean"]


def test_an_interrupted_trace_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    running = start("simulate", "--trace", str(folder), "--threads", "1")
    status, errors = interrupt(running, lambda: folder.exists() and any(folder.iterdir()))
    assert (status, errors) == (130, "asq-hw: interrupted\n")
    assert not any(folder.iterdir())


def test_progress_is_on_standard_error_of_a_terminal_only(workplace: Path) -> None:
    command = [*PROGRAM, "simulate", "digits.asq", "--data", "digits", "--format", "json"]
    variables = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    with (
        terminal() as (end, read),
        subprocess.Popen(
            command, cwd=workplace, stdout=subprocess.PIPE, stderr=end, env=variables
        ) as process,
    ):
        bar = read()
        output, _ = process.communicate(timeout=PATIENCE)
    assert "simulating" in bar
    assert json.loads(output)["images"] > 0


# The README


def test_the_readme_shows_what_is_printed(run: Run) -> None:
    ((command, table),) = re.findall(r"\$ asq-hw (.+ markdown)\n```\n\n((?:\|.*\n)+)", README)
    assert run(*command.split()) == table


def test_the_readme_says_what_the_adapters_of_mobilenetv2_store(run: Run) -> None:
    (percent,) = re.findall(r"they are (\d+) % of all that is stored", README)
    options = ("--convention", "stored", "--bits", "4", "--format", "json")
    row = json.loads(run("overhead", "mobilenetv2", *options))["rows"][0]
    assert f"{row['param_percent']:.0f}" == percent


def test_the_readme_says_what_the_bundled_network_reaches(run: Run) -> None:
    (shown,) = re.findall(r"\$ asq-hw simulate\n((?:.+\n)+?)```", README)
    assert run("simulate").startswith(shown)


def test_the_bundled_network_on_all_test_images(run: Run) -> None:
    if not any(f.found for f in examine() if f.requirement.name == "fashion-mnist"):
        pytest.skip("needs Fashion-MNIST: apt-get install dataset-fashion-mnist")
    document = json.loads(run("simulate", "--data", "fashion-mnist", "--format", "json"))
    assert document["images"] == 10_000
    assert document["top1"] >= 0.92
    assert abs(document["top1"] - document["reference_top1"]) <= 0.003
    assert document["agreement"] >= 0.99
    (claims,) = re.findall(r"it is ([\d.]+) %, ([\d.]+) % and ([\d.]+) %\.", README)
    shares = (document["top1"], document["reference_top1"], document["agreement"])
    assert tuple(f"{100 * share:.2f}" for share in shares) == claims
