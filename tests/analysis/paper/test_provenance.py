"""The commit of a result: that of the sources, wherever the program runs from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import asq_hw
from analysis.paper import provenance
from analysis.paper.provenance import commit, noted_commits
from asq_hw.errors import InputError

VERSION = f"version-{asq_hw.__version__}"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that the program believes to be its own."""
    assert shutil.which("git"), "the tests need git"
    folder = tmp_path / "sources"
    (folder / "asq_hw").mkdir(parents=True)
    (folder / "asq_hw" / "__init__.py").write_text("")
    (folder / "data.csv").write_text("")
    monkeypatch.setattr(asq_hw, "__file__", str(folder / "asq_hw" / "__init__.py"))
    commit.cache_clear()
    yield folder
    commit.cache_clear()


def begin(folder: Path) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "x")
    return git(folder, "rev-parse", "HEAD")[:12]


def test_the_commit_is_that_of_the_sources(sources: Path) -> None:
    head = begin(sources)
    (sources / "data.csv").write_text("a line more")  # results are no sources
    assert commit() == head
    commit.cache_clear()
    (sources / "asq_hw" / "new.py").write_text("")
    assert commit() == f"{head}+changes"


def test_sources_outside_git_have_a_version(sources: Path) -> None:
    assert commit() == VERSION


def test_a_copy_in_anothers_repository_has_a_version(sources: Path) -> None:
    begin(sources.parent)
    assert commit() == VERSION


def test_commits_are_noted_while_there_is_something_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now, begins, noted in (
        ("a", True, "a"),
        ("a", True, "a"),
        ("b", False, "a"),
        ("b", True, "a b"),
        ("c", False, "a b"),
    ):
        monkeypatch.setattr(provenance, "commit", lambda now=now: now)
        assert noted_commits(tmp_path, begins=begins) == noted
    assert noted_commits(tmp_path.parent, begins=False) == ""
    (tmp_path / "commits.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="could not be read"):
        noted_commits(tmp_path, begins=True)
