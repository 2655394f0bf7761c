"""Seconds that each layer takes: the compiled program, run one step at a time."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product
from asq_hw.sim.engine import Run, check_images
from asq_hw.sim.instruction_sets import AUTO
from asq_hw.sim.program import Memory

__all__ = ["profile_layers"]


def profile_layers(
    network: IntegerNetwork,
    images: NDArray[np.integer[Any]],
    *,
    product: Product | None = None,
    kernel: str = AUTO,
) -> dict[str, float]:
    """Seconds of every layer for one image on one thread, by the layer's name.

    The layers of an image run in their order, so that each finds the caches as in a whole run;
    the median over `images`, (N, C, H, W), is taken. What a call into compiled code costs by
    itself is measured by calls that compute nothing, and subtracted.

    Parameters
    ----------
    network : IntegerNetwork
        What is run.
    images : integers (N, C, H, W)
        On what.
    product : Product, optional
        How weights with the square root of two are multiplied; None: as it was trained.
    kernel : str
        Instruction set, or ``auto``.

    Raises
    ------
    InputError
        As `simulate` does.
    """
    product = network.trained_product if product is None else product
    images = check_images(network, images)
    run = Run(network, images, product=product, kernel=kernel)
    run.warm_up()
    memory = run.memory(1)
    run.compute(memory, 0, 1)
    names = run.plan.step_names
    steps = len(names)
    seconds: list[list[float]] = [[] for _ in range(steps)]
    idle: list[float] = []
    for image in range(len(images)):
        for step in range(steps):
            seconds[step].append(_timed(run, memory, image, step, step + 1))
            idle.append(_timed(run, memory, image, step, step))
    call = median(idle)
    profile: dict[str, float] = dict.fromkeys(names, 0.0)
    for name, values in zip(names, seconds, strict=True):  # some layers are several steps
        profile[name] += max(median(values) - call, 0.0)
    return profile


def _timed(run: Run, memory: Memory, image: int, first: int, last: int) -> float:
    start = time.perf_counter()
    run.compute(memory, image, image + 1, slice(first, last))
    return time.perf_counter() - start
