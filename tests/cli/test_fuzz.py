"""500 command lines by chance: each does its work or says in one line why not."""

from __future__ import annotations

import contextlib
import io
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

from asq_hw.cli import main
from tests.helpers.guards import no_hang

PATIENCE = 900  # a first simulation compiles
LEAST_DONE = (6, 8, 5, 2)
"""Commands of each part that do their work, of the 8, 10, 7 and 3 that are drawn so."""
MOST_MEMORY_KIB = 1_000_000
"""That a part may take: most is PyTorch, and the compiler of the simulator."""

WORDS = [
    "", " ", "-", "--", "-1", "0", "1", "2", "3", "4", "8", "9", "17", "1e9", "nan", "inf", "-inf",
    "3000000000", str(2**63), str(2**64), "9" * 5000, "1_0", "\u0663", "0x10", "2,3", ",", "2,",
    "1,1000000",
    "bundled", "digits", "post", "pot", "uniform", "apot", "packed", "paper", "zero-free", "json",
    "csv", "markdown", "table", "resnet18", "resnet20", "mobilenetv2", "auto", "portable", "vnni",
    "post-split", "post-lut", "digits-float", "digits-asq-post-w4a4", "local:0", "local:x",
    "local:99999", "tls://127.0.0.1:1", "tcp://127.0.0.1:1", "tcp://[::1]:99999", "inproc://x",
    "x", "../esc", "/dev/null", "/dev/zero", "/dev/full", "/proc/self/mem", ".", "..", "/",
    "pipe", "empty", "folder", "loop", "no such file", "caf\u00e9", "\udcff\udcfe", "a\nb",
    "\x1b[31mred\x1b[0m", "n" * 300, "d/" * 600, "model.asq", "bad.asq", "bad.pt", "bad.toml",
    "deep.toml", "esc.toml", "images", "trace", "%s", "{0}", "$(id)", "*", "'", '"', "\U0001f600",
]  # fmt: skip
SETTINGS = [
    "epochs=inf", "epochs=1e400", "epochs=" + "9" * 5000, "epochs=nan", "learning_rate=nan",
    "learning_rate=inf", "learning_rate=1e400", "name=../esc", "name=", "name=a/b", "name=.",
    "width=3000000000", "batch_size=99999999999999999999", "seed=" + "9" * 30,
    "image_size=99999999",
    "crop_padding=9999999999", "model=x", "dataset=", "dataset=/dev/zero", "dataset=pipe",
    "dataset=..", "layers=1", "=", "a", "weights=\x1b[31m", "accumulate=0", "training_images=-1",
    "encoding=x", "flip=2", "momentum=2", "momentum=nan", "min_crop_area=nan", "precision=x",
    "weight_decay=nan", "label_smoothing=nan", "warmup_epochs=" + "9" * 400,
]  # fmt: skip


def draw(rng: Generator, *usual: str) -> str:
    """A word: mostly one that belongs there, else any."""
    return (
        str(rng.choice(usual)) if usual and rng.random() < 0.6 else WORDS[rng.integers(len(WORDS))]
    )


def options(rng: Generator, **usual: tuple[str, ...]) -> list[str]:
    made = []
    for name, values in usual.items():
        if rng.random() < 0.25:
            option = f"--{name.replace('_', '-')}"
            made += [option] if values == ("flag",) else [option, draw(rng, *values)]
    return made


BITS = ("2", "3", "4", "8", "2,3", "17")
FORMS = ("json", "csv", "markdown", "table")
COMMANDS: dict[str, Callable[[Generator], list[str]]] = {
    "simulate": lambda rng: [
        draw(rng, "bundled", "bad.asq", "pipe"), "--limit", draw(rng, "1", "2"),
        *options(rng, data=("bundled", "images", "pipe"), threads=("1", "2"), batch_size=("1",),
                 product=("post-split", "post-lut"), lut_fraction_bits=("11", "99"),
                 kernel=("auto", "portable"), trace=("trace", "pipe"), compare=("trace", "hostile"),
                 cluster=("local:0", "tcp://127.0.0.1:1", "tls://127.0.0.1:1"),
                 memory_limit=("1", "4G", "1K", "-1"), format=FORMS),
    ],
    "overhead": lambda rng: [
        draw(rng, "resnet18", "bundled", "bad.asq"),
        *options(rng, bits=BITS, convention=("paper", "stored"), grid=("packed", "paper"),
                 input=("32", "224", "99999999999"), per_layer=("flag",), format=FORMS),
    ],
    "levels": lambda rng: [
        draw(rng, "post", "pot", "uniform", "apot"), "--bits", draw(rng, *BITS),
        *options(rng, grid=("packed", "paper"), unsigned=("flag",), format=FORMS,
                 plot=("pipe", "no/x.png", "folder")),
    ],
    "train": lambda rng: [
        "--recipe", draw(rng, "digits-float", "bad.toml", "deep.toml", "esc.toml", "pipe"),
        *("--set", SETTINGS[rng.integers(len(SETTINGS))]),
        *options(rng, output=("empty", "folder/x", "pipe"), init=("bad.pt", "pipe"),
                 threads=("3000000000", "0"), workers=("-1", "3000000000"), device=("x", "cuda:9"),
                 set=tuple(SETTINGS), format=FORMS),
        # Never a training that would begin.
        *("--set", "epochs=0"),
    ],
    "eval": lambda rng: [
        draw(rng, "bad.pt", "pipe"),
        *options(rng, data=("digits", "pipe"), limit=("1",), format=FORMS),
    ],
    "export": lambda rng: [
        draw(rng, "bad.pt", "pipe"), "-o", draw(rng, "x.asq", "empty"),
        *options(rng, reference=("digits",), calibration_images=("1", "0")),
    ],
    "rtl": lambda rng: [
        draw(rng, "mac", "dot", "quantizer", "requantizer", "pooling", "adapter", "exponent"),
        *options(rng, scheme=("post-split", "x"), bits=("99", "4", "0"), help=("flag",)),
        *("-o", draw(rng, "pipe", "empty")),
    ],
    "verify": lambda rng: [
        draw(rng, "mac", "quantizer", "x"), "--method", draw(rng, "guess"),
        *options(rng, bits=("0", "99"), cycles=("0", "-1")),
    ],
    "synth": lambda rng: [
        draw(rng, "mac", "x"), "--target", draw(rng, "moon"), *options(rng, bits=("0", "99")),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what is no model, no recipe and no data set."""
    folder = tmp_path_factory.mktemp("fuzz")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "empty").write_bytes(b"")
    (folder / "folder").mkdir()
    (folder / "bad.asq").write_bytes(b"\x10\0\0\0\0\0\0\0{" + b"[" * 15)
    (folder / "bad.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "bad.toml").write_text("epochs = 1e999\nbatch_size = " + "9" * 4000)
    (folder / "deep.toml").write_text("x = " + "[" * 100_000)
    (folder / "esc.toml").write_text('name = "../../esc"\nmodel = "\\u001b[31m"\n')
    (folder / "images" / "a").mkdir(parents=True)
    os.mkfifo(folder / "images" / "a" / "x.png")
    (folder / "hostile").mkdir()
    (folder / "hostile" / "index.json").write_text("[" * 100_000)
    os.mkfifo(folder / "hostile" / "input.npy")
    return folder


@pytest.mark.parametrize("part", range(4))
def test_125_drawn_command_lines_end_well_or_in_one_line(
    workplace: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    before = sorted(path.name for path in workplace.parent.iterdir())
    rng = np.random.default_rng(part)
    done = dict.fromkeys((0, 1, 2), 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wrong = []
    for _ in range(125):
        name = str(rng.choice(list(COMMANDS)))
        arguments = [name, *COMMANDS[name](rng)]
        if rng.random() < 0.1:
            arguments[int(rng.integers(len(arguments)))] = draw(rng)
        output, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            no_hang(PATIENCE),
        ):
            status = main(arguments)
        said = errors.getvalue()
        done[status] = done.get(status, 0) + 1
        one_line = said.startswith("asq-hw: ") and said.count("\n") == 1
        plain = all(char.isprintable() or char == "\n" for char in said)
        if status not in (0, 1, 2) or (status and not one_line) or not plain:
            wrong.append((arguments, status, said))
    assert not wrong
    assert sorted(path.name for path in workplace.parent.iterdir()) == before
    # Neither all nor none may be refused.
    assert done[0] >= LEAST_DONE[part] and done[2] > 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MOST_MEMORY_KIB
