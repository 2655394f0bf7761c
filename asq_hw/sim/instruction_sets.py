"""The instruction sets that the simulator has machine code for, in one list.

The choice of a kernel, the forms that kernels are compiled in, the help of ``--kernel`` and the
doctor's rows are made from it. Importing this loads nothing heavy.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["AUTO", "LANES", "Avx2", "Form", "Kernel", "Portable", "Vnni", "host_features"]

AUTO = "auto"
"""Asks for the first kernel in the list that runs here."""

LANES = 16
"""Values of 32 bits in a vector; output channels are padded to whole vectors."""


class Portable(NamedTuple):
    """Plain loops; kernels are compiled for a form by its type, whatever the value."""

    lanes: int = 1


class Avx2(NamedTuple):
    """AVX2: what any x86 processor since 2013 or 2015 has."""

    lanes: int = LANES


class Vnni(NamedTuple):
    """AVX-512 VNNI."""

    lanes: int = LANES


Form = Portable | Avx2 | Vnni


class Kernel(StrEnum):
    """Machine code for one instruction set, the fastest first; all compute the same bits."""

    text: str
    """What a processor must have."""
    features: frozenset[str]
    """The same by LLVM's names; none where any processor will do."""
    form: Form
    """What the compiled loops are given, so that they are compiled for this instruction set."""

    def __new__(
        cls,
        name: str,
        text: str = "any processor",
        features: frozenset[str] = frozenset(),
        form: Form = Portable(),  # noqa: B008 - immutable
    ) -> Kernel:
        """Declare a kernel; with its name alone, look it up."""
        kernel = str.__new__(cls, name)
        kernel._value_ = name
        kernel.text, kernel.features, kernel.form = text, features, form
        return kernel

    VNNI = (
        "vnni",
        "AVX-512 VNNI",
        frozenset({"avx512f", "avx512bw", "avx512vl", "avx512vnni"}),
        Vnni(),
    )
    """Four products of bytes in each lane of 32 bits."""
    AVX2 = "avx2", "AVX2 and FMA", frozenset({"avx2", "fma"}), Avx2()
    """Products of bytes in 16 bits where bounds allow it, else in 32."""
    PORTABLE = "portable"
    """Plain loops that run on any processor, and without the compiler."""


def host_features() -> frozenset[str]:
    """What the processor has; nothing where LLVM is not there or cannot tell."""
    try:
        from llvmlite.binding import get_host_cpu_features

        features = get_host_cpu_features()
    except (ImportError, RuntimeError):
        return frozenset()
    return frozenset(name for name, present in features.items() if present)
