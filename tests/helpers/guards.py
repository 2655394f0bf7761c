"""Bounds on time and memory for tests that feed the program what it should refuse."""

from __future__ import annotations

import faulthandler
import signal
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["no_hang", "peak_memory"]


@contextmanager
def no_hang(seconds: int) -> Iterator[None]:
    """Break off, with a failure, what does not end by itself; end the process if it is deaf."""

    def stop(*_: object) -> None:
        pytest.fail(f"still at work after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    # Signals are heard between instructions of Python only, not inside one that never ends: there
    # the system ends the process. A thread that watches would meet tracemalloc as it starts and
    # stops, which CPython 3.11 does not survive.
    faulthandler.register(signal.SIGVTALRM, file=sys.__stderr__ or 2, chain=True)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        faulthandler.unregister(signal.SIGVTALRM)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Bytes that the block took at most; numpy's arrays are counted."""
    result = [0]
    tracemalloc.start()
    try:
        yield result
    finally:
        result[0] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
