"""Which of the simulator's kernels this machine can run, and which one does."""

from __future__ import annotations

from numba.core import config
from numba.core.codegen import get_host_cpu_features

from asq_hw.errors import InputError
from asq_hw.sim import instruction_sets
from asq_hw.sim.instruction_sets import AUTO, Kernel

__all__ = ["available_kernels", "choose_kernel"]


def choose_kernel(name: str) -> Kernel:
    """The kernel of that name; of ``auto``, the fastest that runs here.

    Raises
    ------
    InputError
        If there is no kernel of that name or this processor cannot run it.
    """
    available = available_kernels()
    if name == AUTO:
        return available[0]
    try:
        chosen = Kernel(name)
    except ValueError:
        known = ", ".join([AUTO, *Kernel])
        raise InputError(f"kernel must be one of {known}, not {name!r}") from None
    if chosen not in available:
        raise InputError(f"kernel {chosen} needs compiled code and a processor with {chosen.text}")
    return chosen


def available_kernels() -> list[Kernel]:
    """The kernels that run here, the fastest first."""
    features: frozenset[str] = frozenset()
    if not _setting("DISABLE_JIT"):
        features = instruction_sets.host_features() & _target_features()
    return [kernel for kernel in Kernel if kernel.features <= features]


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
