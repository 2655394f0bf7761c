"""Numba as every compiled loop here uses it: its decorator, its cache, and its long work aside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar, cast

import numba
from numba.core.dispatcher import Dispatcher

__all__ = ["cached", "compile_aside", "is_compiling", "jit"]

_THREAD = "asq-hw compiler"
_Function = TypeVar("_Function", bound=Callable[..., object])


def jit(function: _Function) -> _Function:
    """Compile `function` when it is first called from compiled code."""
    return cast(_Function, numba.njit(nogil=True)(function))


def cached(function: _Function, **options: Any) -> _Function:
    """Compile `function` once for all processes; without a writable cache, once for each.

    The options are further ones of `numba.njit`.
    """
    try:
        compiled = numba.njit(nogil=True, cache=True, **options)(function)
        if isinstance(compiled, Dispatcher):  # not where numba is told to compile nothing
            _tolerate(compiled._cache)  # type: ignore[attr-defined]  # numba's own, untyped
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
