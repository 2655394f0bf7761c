"""Which kernels this machine can run, and what their compiled code depends on."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

from numba.core import config
from numba.core.codegen import get_host_cpu_features

from asq_hw import compiler, processor
from asq_hw.errors import InputError
from asq_hw.numbers import fixedpoint

__all__ = ["Kernel", "available_kernels", "choose_kernel", "source_stamp"]


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


def source_stamp() -> int:
    """Return a digest of the kernels' sources: it makes a cached function depend on all of them.

    Numba's cache watches only the file that a function stands in, not what the function calls.
    """
    digest = hashlib.sha256()
    below = Path(fixedpoint.__file__), Path(compiler.__file__)
    for path in [*sorted(Path(__file__).parent.rglob("*.py")), *below]:
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
