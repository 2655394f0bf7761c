"""The compiled loop over samples and layers.

One function is compiled for all networks, so that only the first start on a machine waits for
the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import cached
from asq_hw.sim.jit import source_stamp
from asq_hw.sim.kernels.convolve import convolve
from asq_hw.sim.kernels.plain_layers import (
    add,
    average_pool,
    flatten,
    max_pool,
    quantize_pixels,
    relu,
)
from asq_hw.sim.program import Form, Kind, Memory, Program, Statistic

__all__ = ["interpreter"]

Interpreter = Callable[
    [
        Program,
        Memory,
        NDArray[np.uint8],
        int,
        NDArray[np.int32],
        NDArray[np.int64],
        bool,
        Form,
    ],
    bool,
]


@cache
def interpreter() -> Interpreter:
    """The function ``run(program, memory, images, output, scores, statistics, keep, form)``.

    `images` is (N, C, H, W), `output` the place of the last layer's map, which goes to `scores`,
    (N, size); `statistics` is (N, layers, len(Statistic)). With `keep` every sample has
    its own row of the memory, and maps and codes stay there; else they share the first. The
    type of `form` says which instructions there are.

    Before every layer ``memory.stop`` is looked at, as compiled code does not see Ctrl-C; where
    plain loops make a layer slow, before each of its blocks too. Once it is set, this returns.
    """
    stamp = source_stamp()

    @cached
    def run(
        program: Program,
        memory: Memory,
        images: NDArray[np.uint8],
        output: int,
        scores: NDArray[np.int32],
        statistics: NDArray[np.int64],
        keep: bool,
        form: Form,
    ) -> bool:
        for n in range(images.shape[0]):
            row = n if keep else 0
            maps = memory.maps[row]
            for s in range(program.steps.shape[0]):
                if memory.stop[0]:
                    return False
                kind, index = program.steps[s]["kind"], program.steps[s]["index"]
                counts = statistics[n, program.steps[s]["layer"]]
                if kind == Kind.CONV:
                    layer = program.convs[index]
                    convolve(layer, program, memory, row, keep, counts, form)
                elif kind == Kind.RELU:
                    relu(program.elementwise[index], maps)
                elif kind == Kind.ADD:
                    counts[Statistic.SATURATED] = add(program.elementwise[index], maps, form)
                elif kind == Kind.FLATTEN:
                    flatten(program.elementwise[index], maps)
                elif kind == Kind.MAX_POOL:
                    max_pool(program.pools[index], maps)
                elif kind == Kind.AVERAGE_POOL:
                    pool = program.pools[index]
                    counts[Statistic.SATURATED] = average_pool(pool, maps, memory.vectors[0], form)
                elif kind == Kind.INPUT:
                    first = program.inputs[index]
                    counts[Statistic.SATURATED] = quantize_pixels(first, program, images[n], maps)
            scores[n] = maps[output : output + scores.shape[1]]
        return stamp > 0  # what a function closes over is part of its key in the cache

    return run
