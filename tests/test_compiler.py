"""Numba's decorator and its cache, on disks as they are."""

from __future__ import annotations

import errno
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
