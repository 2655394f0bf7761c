"""Numba's decorator as every kernel here uses it, and which kernels this machine can run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar, cast

import llvmlite.binding
import numba
from numba.core import config

from asq_hw import fixedpoint
from asq_hw.errors import InputError

__all__ = ["Kernel", "cached", "choose_kernel", "jit", "source_stamp"]

_Function = TypeVar("_Function", bound=Callable[..., object])


class Kernel(StrEnum):
    """Which machine code computes the dot products; the results are the same bits."""

    AUTO = "auto"
    """VNNI where the processor has it."""
    VNNI = "vnni"
    """AVX-512 VNNI: four products of bytes in each 32-bit lane."""
    PORTABLE = "portable"
    """Plain loops that run on any processor, and without the compiler."""


def jit(function: _Function) -> _Function:
    """Compile `function` when it is first called from compiled code."""
    return cast(_Function, numba.njit(nogil=True)(function))


def cached(function: _Function) -> _Function:
    """Compile `function` once for all processes; without a writable cache, once for each."""
    try:
        return cast(_Function, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no folder that the cache could be written to
        return jit(function)


def source_stamp() -> int:
    """Return a digest of the kernels' sources: it makes a cached function depend on all of them.

    Numba's cache watches only the file that a function stands in, not what the function calls.
    """
    digest = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("*.py")), Path(fixedpoint.__file__)]:
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")


def choose_kernel(kernel: str) -> Kernel:
    """VNNI or PORTABLE for what the user asked for.

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
    available = _vnni_available()
    if chosen is Kernel.AUTO:
        return Kernel.VNNI if available else Kernel.PORTABLE
    if chosen is Kernel.VNNI and not available:
        raise InputError("kernel vnni needs compiled code and a processor with AVX-512 VNNI")
    return chosen


def _vnni_available() -> bool:
    if _setting("DISABLE_JIT") or _setting("CPU_NAME") or _setting("CPU_FEATURES"):
        return False  # with a processor set by hand nothing is known about it
    features = llvmlite.binding.get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512vnni"))


def _setting(name: str) -> bool:
    """Whether one of Numba's settings, an environment variable NUMBA_..., is in force."""
    return bool(getattr(config, name))
