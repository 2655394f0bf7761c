"""Numba as every compiled loop here uses it: its decorator, its cache, and its long work aside."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread
from typing import Any, TypeVar, cast

import numba
from numba.core.dispatcher import Dispatcher

if sys.platform != "win32":  # where each process compiles for itself
    import fcntl

__all__ = ["cached", "compile_aside", "is_compiling", "jit"]

_THREAD = "asq-hw compiler"
_PATIENCE_S = 600
"""How long a process waits for another that compiles what it needs, before it does so itself."""
_Function = TypeVar("_Function", bound=Callable[..., object])


def jit(function: _Function) -> _Function:
    """Compile `function` when it is first called from compiled code."""
    return cast(_Function, numba.njit(nogil=True)(function))


def cached(function: _Function, **options: Any) -> _Function:
    """Compile `function` once for all processes; without a writable cache, once for each.

    Of processes that start together one compiles, and the others wait for what it writes. The
    options are further ones of `numba.njit`.
    """
    try:
        compiled = numba.njit(nogil=True, cache=True, **options)(function)
        if isinstance(compiled, Dispatcher):  # not where numba is told to compile nothing
            _tolerate(compiled._cache)  # type: ignore[attr-defined]  # numba's own, untyped
            _compile_alone(compiled)
    except (RuntimeError, OSError):  # no folder that the cache could be written to
        compiled = numba.njit(nogil=True, **options)(function)
    return cast(_Function, compiled)


def _tolerate(cache: Any) -> None:
    """Let a cache that is damaged, or on a full disk, cost time and nothing else."""
    load, save = cache.load_overload, cache.save_overload

    def load_if_whole(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # whatever unpacking a damaged file raises
            return None

    def save_if_possible(*arguments: Any) -> None:
        with suppress(Exception):  # of the disk, or of a damaged index, which is read first
            save(*arguments)

    cache.load_overload, cache.save_overload = load_if_whole, save_if_possible


def _compile_alone(compiled: Any) -> None:
    """Let one process at a time compile a function, and write to its cache.

    Numba's cache reads its index, adds to it and replaces it: of two processes that do so at once
    one may find its name on the other's machine code.
    """
    cache, compile_it = compiled._cache, compiled.compile
    load = cache.load_overload
    lock = os.path.join(cache.cache_path, f"{cache._impl.filename_base}.lock")
    of_thread = threading.local()

    def load_or_lock(*arguments: Any) -> Any:
        found = load(*arguments)
        if found is None:
            of_thread.held.enter_context(_locked(lock))
            found = load(*arguments)  # which another process may have written meanwhile
        return found

    def compile_alone(*arguments: Any) -> Any:
        with ExitStack() as of_thread.held:
            return compile_it(*arguments)

    cache.load_overload, compiled.compile = load_or_lock, compile_alone


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold a file's lock; without one where the file system has none, or it does not come free."""
    with ExitStack() as held:
        if sys.platform != "win32":
            with suppress(OSError):
                file = held.enter_context(open(path, "ab"))
                until = time.monotonic() + _PATIENCE_S
                while not _has_lock(file.fileno()) and time.monotonic() < until:
                    time.sleep(0.05)
        yield


def _has_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def compile_aside(work: Callable[[], object]) -> None:
    """Do what makes Numba compile in a thread of its own, and wait for it.

    LLVM works for many seconds and loses a Ctrl-C that comes meanwhile. Here it reaches the caller
    at once; the thread goes on, and what it compiles is cached for the next start.
    """
    done: Future[None] = Future()

    def go() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    Thread(target=go, name=_THREAD, daemon=True).start()
    done.result()


def is_compiling() -> bool:
    """Whether a thread compiles that nobody may wait for any more."""
    return any(thread.name == _THREAD for thread in threading.enumerate())
