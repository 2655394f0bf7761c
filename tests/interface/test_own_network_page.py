"""The code of docs/your-own-network.md runs, and prints what stands there."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from asq_hw.modelfile import load

PAGE = Path(__file__).parents[3] / "docs" / "your-own-network.md"


def test_the_page_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "text", "python"]
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "your_own_network"}
    printed = io.StringIO()
    for number, (kind, text) in enumerate(blocks):
        if kind == "python":
            script = tmp_path / ("your_own_network.py" if number == 0 else "second.py")
            script.write_text(text)
            with contextlib.redirect_stdout(printed):
                exec(compile(text, script, "exec"), names)
        else:
            assert printed.getvalue() == text
    assert load(tmp_path / "own.asq").metadata["recipe"] == "cifar10-resnet20-asq-post-w4a4"
