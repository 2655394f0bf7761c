"""The code and the commands of docs/your-own-network.md run, and print what stands there."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import asq_hw
from asq_hw.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "your-own-network.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
SMALLER = ("--set", "training_images=64", "--threads", "1")


def test_the_page_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet", raising=False)  # other tests have such a file, too
    names: dict[str, Any] = {"__name__": "own"}
    said = ""
    for kind, text in BLOCKS:
        if kind == "text":
            assert said == text
        elif kind == "console":
            commands(text)
        else:
            said = executed(text, names)
    monkeypatch.delitem(sys.modules, "mynet")
    result = asq_hw.simulate(names["net"], names["test"])
    assert result.top1 > 0.7 and result.agreement > 0.95
    made = {path.name for path in tmp_path.glob("*.asq")}
    assert made == {"own.asq", "ptq.asq", "ptq4.asq", "own4.asq"}
    assert (tmp_path / "build" / "adapter" / "manifest.json").is_file()


def executed(text: str, names: dict[str, Any]) -> str:
    """Run a file of the page; what it prints."""
    file = Path(re.fullmatch(r"# (\w+\.py)", text.splitlines()[0])[1])  # type: ignore[index]
    file.write_text(text)
    if file.name == "mynet.py":
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, file, "exec"), names)
    return printed.getvalue()


def commands(text: str) -> None:
    """Run the commands of the page, trainings on fewer images."""
    for line in text.splitlines():
        _, program, *arguments = line.split()
        assert program == "asq-hw"
        smaller = SMALLER if arguments[0] == "train" else ()
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*arguments, *smaller]) == 0, line


FUNCTIONS = sorted(set(asq_hw.__all__) - {"__version__"})


def test_the_page_names_every_function_of_the_package() -> None:
    text = PAGE.read_text()
    assert sorted(asq_hw._HOMES) == FUNCTIONS
    assert [name for name in FUNCTIONS if f"`{name}(" not in text] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_is_typed_and_documented(name: str) -> None:
    function = getattr(asq_hw, name)
    parameters = inspect.signature(function).parameters
    returned = set() if isinstance(function, type) else {"return"}
    assert set(function.__annotations__) == {*parameters} | returned
    missing = [key for key in parameters if not re.search(rf"\b{key}\b.* : ", function.__doc__)]
    assert missing == []
    assert "\n    Raises\n" in function.__doc__
