"""The commands and the code of docs/interchange.md run, and print what stands there."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest

from asq_hw.cli import main
from asq_hw.interchange.reading.floating.operators import OPERATORS
from tests.interchange.test_floating import small

PAGE = Path(__file__).parents[2] / "docs" / "interchange.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
SMALLER = ("--set", "training_images=64", "--threads", "1")


def test_the_page_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parent / "files" / "digits-brevitas.onnx", "brevitas.onnx")
    Path("net.onnx").write_bytes(small().SerializeToString())
    said = ""
    for kind, text in BLOCKS:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if kind == "text":
                assert said == text
            elif kind == "console":
                for line in text.splitlines():
                    _, program, *arguments = line.split()
                    assert program == "asq-hw"
                    smaller = SMALLER if arguments[0] == "train" else ()
                    assert main([*arguments, *smaller]) == 0, line
            else:
                exec(compile(text, kind, "exec"), {})
        said = printed.getvalue()
    assert Path("runs/net-w4a4/last.pt").is_file()
    commands = ("eval", "export -o trained.asq", "convert trained.asq -o trained.onnx --to onnx")
    with contextlib.redirect_stdout(io.StringIO()):
        for command in commands[:2]:
            name, *rest = command.split()
            assert main([name, "runs/net-w4a4/last.pt", *rest]) == 0
        assert main(commands[2].split()) == 0


def test_the_page_names_every_operator() -> None:
    assert [name for name in OPERATORS if f"`{name}`" not in TEXT] == []
