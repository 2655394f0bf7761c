"""The simulator's kernels beside each other: they give the same bits at different speeds."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product
from asq_hw.sim import profile_layers
from asq_hw.sim.engine import Run
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.kernel_choice import available_kernels
from benchmarks import convolution
from benchmarks.timing import Section

__all__ = ["compare_kernels"]

_SECONDS = 2.0
"""How long a repetition may take."""
_SLOW_IMAGES = 2
"""How often the plain loops compute the convolution."""


def compare_kernels(
    network: IntegerNetwork, images: NDArray[np.uint8], repetitions: int
) -> Section:
    """Time one convolution and one network on one thread with every kernel that runs here."""
    layer, pixels = convolution.layer()
    products = 2 * layer.macs()["conv"]  # an even and an odd part
    rows: list[dict[str, Any]] = []
    for kernel in available_kernels():
        count = _SLOW_IMAGES if kernel is Kernel.PORTABLE else len(pixels)
        seconds = profile_layers(layer, pixels[:count], kernel=kernel)["conv"]
        rows.append(
            {
                "kernel": str(kernel),
                "convolution, ms": 1000 * seconds,
                "G products/s": products / seconds / 1e9 if seconds else None,
                f"{network.name}, images/s": 1 / _seconds(network, images, kernel, repetitions),
            }
        )
    notes = [
        "The convolution is 3 x 3, 128 to 128 channels, 28 x 28, POST W4A4; one thread.",
        "With NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma all code is that of a processor "
        "without AVX-512.",
    ]
    return Section(title="The simulator's kernels", rows=rows, notes=notes)


def _seconds(
    network: IntegerNetwork, images: NDArray[np.uint8], kernel: Kernel, repetitions: int
) -> float:
    """Seconds for an image: the median over repetitions, or of one image where that takes long."""
    run = Run(network, images, product=Product(), kernel=kernel)
    run.warm_up()
    memory = run.memory(1)

    def compute(count: int) -> float:
        start = time.perf_counter()
        run.compute(memory, 0, count)
        return (time.perf_counter() - start) / count

    first = compute(1)
    count = min(len(images), int(_SECONDS / first))
    return median(compute(count) for _ in range(repetitions)) if count > 1 else first
