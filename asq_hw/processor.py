"""What this processor can do, by LLVM's names; found out without anything heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["KERNELS", "Needed", "host_features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What of a processor one of the simulator's kernels needs."""

    text: str
    features: frozenset[str]


KERNELS: Mapping[str, Needed] = {
    "vnni": Needed(
        text="AVX-512 VNNI",
        features=frozenset({"avx512f", "avx512bw", "avx512vl", "avx512vnni"}),
    ),
    "avx2": Needed(text="AVX2 and FMA", features=frozenset({"avx2", "fma"})),
}
"""The kernels that not every processor runs, the fastest first."""


def host_features() -> frozenset[str]:
    """Return what the processor has; nothing where LLVM is not there or cannot tell."""
    try:
        from llvmlite.binding import get_host_cpu_features

        features = get_host_cpu_features()
    except (ImportError, RuntimeError):
        return frozenset()
    return frozenset(name for name, present in features.items() if present)
