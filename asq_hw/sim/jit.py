"""Numba's decorator as every kernel here uses it, and which kernels this machine can run."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar, cast

import numba
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.core.dispatcher import Dispatcher

from asq_hw import processor
from asq_hw.errors import InputError
from asq_hw.numbers import fixedpoint

__all__ = [
    "Kernel",
    "available_kernels",
    "cached",
    "choose_kernel",
    "compile_aside",
    "is_compiling",
    "jit",
    "source_stamp",
]

_COMPILER = "asq-hw compiler"
_Function = TypeVar("_Function", bound=Callable[..., object])


class Kernel(StrEnum):
    """Which machine code computes the dot products; the results are the same bits."""

    AUTO = "auto"
    """The first of the following that the processor has."""
    VNNI = "vnni"
    """AVX-512 VNNI: four products of bytes in each 32-bit lane."""
    AVX2 = "avx2"
    """AVX2: products of bytes in 16 bits where bounds allow it, else in 32."""
    PORTABLE = "portable"
    """Plain loops that run on any processor, and without the compiler."""


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
        with suppress(OSError, EOFError, ValueError):
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

    Thread(target=go, name=_COMPILER, daemon=True).start()
    done.result()


def is_compiling() -> bool:
    """Whether a thread compiles that nobody may wait for any more."""
    return any(thread.name == _COMPILER for thread in threading.enumerate())


def source_stamp() -> int:
    """Return a digest of the kernels' sources: it makes a cached function depend on all of them.

    Numba's cache watches only the file that a function stands in, not what the function calls.
    """
    digest = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.rglob("*.py")), Path(fixedpoint.__file__)]:
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")


def choose_kernel(kernel: str) -> Kernel:
    """One of the kernels but AUTO, for what the user asked for.

    Raises
    ------
    InputError
        If there is no kernel of that name or this processor cannot run it.
    """
    try:
        chosen = Kernel(kernel)
    except ValueError:
        known = ", ".join(Kernel)
        raise InputError(f"kernel must be one of {known}, not {kernel!r}") from None
    available = available_kernels()
    if chosen is Kernel.AUTO:
        return available[0]
    if chosen not in available:
        needed = processor.KERNELS[chosen].text
        raise InputError(f"kernel {chosen} needs compiled code and a processor with {needed}")
    return chosen


def available_kernels() -> list[Kernel]:
    """Return the kernels that run here, the fastest first."""
    features: frozenset[str] = frozenset()
    if not _setting("DISABLE_JIT"):
        features = processor.host_features() & _target_features()
    runs = [
        Kernel(name) for name, kernel in processor.KERNELS.items() if kernel.features <= features
    ]
    return [*runs, Kernel.PORTABLE]


def _target_features() -> frozenset[str]:
    """What Numba compiles for: what NUMBA_CPU_FEATURES names, else what the processor has.

    A processor named by NUMBA_CPU_NAME alone has all that this one has, as Numba sees it.
    """
    chosen = _setting("CPU_FEATURES")
    text = str(get_host_cpu_features() if chosen is None else chosen)  # type: ignore[no-untyped-call]
    return frozenset(name[1:] for name in text.split(",") if name.startswith("+"))


def _setting(name: str) -> object:
    """One of Numba's settings, an environment variable NUMBA_..., or its default."""
    return getattr(config, name)
