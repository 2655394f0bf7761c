"""The compiled loop over samples and layers.

One function is compiled for all networks, so that only the first start on a machine waits for
the compiler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asq_hw import compiler
from asq_hw.compiler import cached, jit
from asq_hw.numbers import fixedpoint, odd_codes, products
from asq_hw.sim.instruction_sets import Form
from asq_hw.sim.kernels.convolve import convolve
from asq_hw.sim.kernels.elementwise import add, flatten, place, relu, select
from asq_hw.sim.kernels.functions import look_up, multiply
from asq_hw.sim.kernels.pool import average_pool, max_pool
from asq_hw.sim.kernels.quantize_pixels import quantize_pixels
from asq_hw.sim.program import Kind, Memory, Program, Sample, Statistic
from asq_hw.sim.records import StepRecord

__all__ = ["Batch", "interpreter"]


class Batch(NamedTuple):
    """Images, and what the program makes of them."""

    images: NDArray[np.uint8]
    """(N, C, H, W * bytes): integers of one byte or two."""
    outputs: NDArray[np.int64]
    """(outputs, 2): place and size of each map that goes to `results`."""
    results: NDArray[np.int32]
    """(N, sum of sizes), one map behind the other."""
    statistics: NDArray[np.int64]
    """(N, layers, len(Statistic))."""
    keep: bool
    """Every sample has its own row of the memory, and maps and codes stay there; else they share
    the first."""


Interpreter = Callable[[Program, Memory, Batch, Form], bool]


@cache
def interpreter() -> Interpreter:
    """The function ``run(program, memory, batch, form)``; it says whether it came to the end.

    The type of `form` says which instructions there are. Before every layer ``memory.stop`` is
    looked at, as compiled code does not see Ctrl-C; where plain loops make a layer slow, before
    each of its blocks too. Once it is set, this returns.
    """
    stamp = _source_stamp()

    @cached
    def run(program: Program, memory: Memory, batch: Batch, form: Form) -> bool:
        for n in range(batch.images.shape[0]):
            row = n if batch.keep else 0
            for s in range(program.steps.shape[0]):
                if memory.stop[0]:
                    return False
                step = program.steps[s]
                layers = batch.statistics[n]
                counts = layers[step.layer]
                sample = Sample(row=row, keep=batch.keep, statistics=counts, layers=layers)
                _compute(step, program, memory, batch.images[n], sample, form)
            start = 0
            for o in range(batch.outputs.shape[0]):
                place, size = batch.outputs[o, 0], batch.outputs[o, 1]
                batch.results[n, start : start + size] = memory.maps[row, place : place + size]
                start += size
        return stamp > 0  # what a function closes over is part of its key in the cache

    return run


@jit
def _compute(
    step: StepRecord,
    program: Program,
    memory: Memory,
    image: NDArray[np.uint8],
    sample: Sample,
    form: Form,
) -> None:
    """One step for one image."""
    kind, row = step.kind, step.row
    maps, counts = memory.maps[sample.row], sample.statistics
    if kind == Kind.CONVOLUTION:
        convolve(program.convolutions[row], program, memory, sample, form)
    elif kind == Kind.RELU:
        relu(program.relus[row], maps)
    elif kind == Kind.ADD:
        counts[Statistic.SATURATED] = add(program.adds[row], maps, form)
    elif kind == Kind.PLACE:
        place(program.places[row], maps)
    elif kind == Kind.SELECT:
        selection = program.selects[row]
        channels = program.constants[selection.channels_at :]
        select(selection, channels, maps)
    elif kind == Kind.PRODUCT:
        counts[Statistic.SATURATED] = multiply(program.products[row], maps)
    elif kind == Kind.LOOKUP:
        counts[Statistic.SATURATED] = look_up(program.lookups[row], program, maps)
    elif kind == Kind.FLATTEN:
        flatten(program.flattens[row], maps)
    elif kind == Kind.MAX_POOL:
        max_pool(program.max_pools[row], maps)
    elif kind == Kind.AVERAGE_POOL:
        pool, sums = program.average_pools[row], memory.vectors[0]
        counts[Statistic.SATURATED] = average_pool(pool, maps, sums, form)
    elif kind == Kind.INPUT:
        pixels = program.inputs[row]
        counts[Statistic.SATURATED] = quantize_pixels(pixels, program, image, maps)
    else:
        raise ValueError("no kernel for this kind of step")


def _source_stamp() -> int:
    """A digest of the kernels' sources: it makes a cached function depend on all of them.

    Numba's cache watches only the file that a function stands in, not what the function calls.
    """
    digest = hashlib.sha256()
    below = (Path(str(module.__file__)) for module in (compiler, fixedpoint, odd_codes, products))
    for path in [*sorted(Path(__file__).parents[1].rglob("*.py")), *below]:
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")
