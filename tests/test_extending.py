"""The walks of docs/extending.md, each carried out in a copy of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
MOST_FILES = 4


@dataclass(frozen=True)
class Walk:
    """One section of the page: what is written into which file, and what must then run."""

    title: str
    steps: tuple[tuple[str, str, str], ...]
    """Path, language of the block, block."""
    checks: tuple[str, ...]
    commands: tuple[str, ...]


def walk_of(section: str) -> Walk:
    steps = re.findall(
        r"^\d+\. `([\w/.]+)`.*?^```(python|diff)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
    )
    return Walk(
        title=section.splitlines()[0],
        steps=tuple(steps),
        checks=tuple(
            re.findall(r"^```python check\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        ),
        commands=tuple(re.findall(r"^    asq-hw (.*)$", section, re.MULTILINE)),
    )


WALKS = [walk_of(section) for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]]


def changed(text: str, diff: str) -> str:
    """The text with each run of ``-`` lines replaced by the run of ``+`` lines behind it."""
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", diff, re.MULTILINE):
        before = "\n".join(line[1:] for line in old.splitlines())
        after = "\n".join(line[1:] for line in new.splitlines())
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def run(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources in which all walks were carried out, one after the other."""
    folder = tmp_path_factory.mktemp("extended")
    for package in ("asq_hw", "rtl", "analysis"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=unwanted)
    for walk in WALKS:
        for path, language, block in walk.steps:
            target = folder / path
            if language == "python":
                assert not target.exists()
                target.write_text(block, encoding="utf-8")
            else:
                target.write_text(
                    changed(target.read_text(encoding="utf-8"), block), encoding="utf-8"
                )
    return folder


def test_there_are_four_walks_of_at_most_four_code_files() -> None:
    titles = ["A quantization scheme", "A layer kind", "A target", "A network"]
    assert [walk.title for walk in WALKS] == titles
    for walk in WALKS:
        files = [path for path, _, _ in walk.steps]
        assert 1 <= len(files) == len(set(files)) <= MOST_FILES
        assert walk.checks or walk.commands


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.title.split()[-1])
def test_what_a_walk_adds_is_there_and_runs(walk: Walk, extended: Path) -> None:
    for check in walk.checks:
        run(extended, "-c", check)
    for command in walk.commands:
        assert run(extended, "-m", "asq_hw.cli", *command.split())
