"""Numba's decorator and its cache, on disks as they are."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

from asq_hw import compiler


def test_a_cache_on_a_full_disk_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def double(x: int) -> int:
        return 2 * x

    asked = []

    def full(*_: object) -> None:
        asked.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    compiled = compiler.cached(double)
    assert compiled(21) == 42
    assert asked  # it was tried to be written


def test_a_damaged_cache_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def triple(x: int) -> int:
        return 3 * x

    assert compiler.cached(triple)(5) == 15
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept  # an index, and machine code
    for path in kept:
        path.write_bytes(path.read_bytes()[:20])
    assert compiler.cached(triple)(5) == 15


STARTS = """
import sys, time
from pathlib import Path
from asq_hw import compiler

def double(x):
    return 2 * x

compiled = compiler.cached(double)
compile_it = compiled._compiler.compile

def slowly(*arguments):
    time.sleep(1)
    return compile_it(*arguments)

compiled._compiler.compile = slowly
folder, mine, other = Path(sys.argv[1]), *sys.argv[2:]
(folder / mine).touch()
while not (folder / other).exists():
    time.sleep(0.01)
assert compiled(21) == 42
print(*(sum(found.values()) for found in compiled.stats[1:]))
"""


def test_of_processes_that_start_together_one_compiles(tmp_path: Path) -> None:
    script = tmp_path / "starts.py"
    script.write_text(STARTS)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, script, tmp_path, *names],
            env=environment,
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        for names in (("a", "b"), ("b", "a"))
    ]
    hits_and_misses = sorted(process.communicate(timeout=120)[0] for process in processes)
    assert hits_and_misses == ["0 1\n", "1 0\n"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
@pytest.mark.parametrize("fault", ["held by somebody", "none here"])
def test_a_lock_that_cannot_be_had_costs_time_and_nothing_else(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiler, "_PATIENCE_S", 0.2)
    error = BlockingIOError() if fault == "held by somebody" else OSError(errno.ENOLCK, "No locks")
    asked = []

    def refuse(*_: object) -> None:
        asked.append(1)
        raise error

    monkeypatch.setattr("fcntl.flock", refuse)

    def halve(x: int) -> int:
        return x // 2

    assert compiler.cached(halve)(42) == 21
    assert len(asked) > 1 if fault == "held by somebody" else len(asked) == 1
