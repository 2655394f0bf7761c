"""Fresh processes that simulate the bundled network: how soon they start, what memory they take.

    python benchmarks/scale.py IMAGES

is what each of them runs; it prints seconds and peak memory as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from asq_hw.guard import guarded
from benchmarks.timing import Section

__all__ = ["compare_counts"]

ROOT = Path(__file__).parents[1]
_COUNTS = (1, 250, 500, 1000)


def compare_counts() -> Section:
    """A first start with nothing compiled, then later ones with more and more images."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as cache:
        for number, count in enumerate((1, *_COUNTS)):
            started = time.perf_counter()
            told = in_new_process(count, cache)
            total = time.perf_counter() - started
            rows.append(
                {
                    "process": "later" if number else "first, compiles",
                    "images": count,
                    "ms/image": 1000 * told["seconds"] / count,
                    "whole process, s": total,
                    "peak memory, MiB": told["peak_mebibytes"],
                }
            )
    return Section(title="Fresh processes, bundled network, one thread", rows=rows)


def in_new_process(count: int, cache: str | None = None) -> dict[str, float]:
    """What a process tells that simulates `count` images; compiled code is kept in `cache`."""
    command = [sys.executable, __file__, str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def main() -> None:
    from asq_hw import datasets, modelfile
    from asq_hw.sim import simulate

    network = modelfile.load(ROOT / "asq_hw" / "bundled" / "fashion-mnist-resnet20-w4a4.asq")
    images = datasets.load("bundled", limit=int(sys.argv[1])).images
    seconds = simulate(network, images, threads=1).seconds
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"seconds": seconds, "peak_mebibytes": peak / 1024}))


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.scale", main))
