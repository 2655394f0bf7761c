"""Convolution and linear layer (docs/arithmetic.md, section 5), one sample at a time.

A window is a list of quads: places, relative to the window's first code, where four codes stand
side by side. Both forms of the dot product walk the same lists, so they know nothing of kernel
sizes, strides, padding, groups or planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.instruction_sets import Form
from asq_hw.sim.kernels.convolve_vector import convolve_bytes
from asq_hw.sim.kernels.quantize import place_codes, quantize, quantize_bytes
from asq_hw.sim.kernels.requantize import keep_block, requantize_block, scale_multipliers
from asq_hw.sim.kernels.step_size import step_size
from asq_hw.sim.program import ComputeType, Memory, Program, Sample
from asq_hw.sim.records import NOWHERE, ConvolutionRecord

__all__ = ["convolve"]


@jit
def convolve(
    layer: ConvolutionRecord, program: Program, memory: Memory, sample: Sample, form: Form
) -> None:
    """Quantize, multiply, accumulate, requantize.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    program : Program
        Tables that the layer's record points into.
    memory : Memory
        The thread's arrays.
    sample : Sample
        Which sample of the batch, and where its results go.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    """
    maps, indices = memory.maps[sample.row], memory.indices[sample.row]
    step = step_size(layer, program, memory, sample, form)
    scale_multipliers(layer.requantization, step, program.constants, memory)
    if layer.compute_type == ComputeType.INT8:
        if not quantize_bytes(layer, step, maps, memory, sample, form):
            quantize(layer, step, maps, indices, sample.statistics)
            place_codes(layer, program.constants, indices, memory.codes8)
        convolve_bytes(layer, program, memory, sample, form)
        return
    quantize(layer, step, maps, indices, sample.statistics)
    if layer.compute_type == ComputeType.INT32:
        place_codes(layer, program.constants, indices, memory.codes32)
        weights32, codes32, sums32 = program.weights32, memory.codes32, memory.sums32
        _convolve_blocks(layer, program, memory, sample, weights32, codes32, sums32)
    elif layer.compute_type == ComputeType.INT64:
        place_codes(layer, program.constants, indices, memory.codes64)
        weights64, codes64, sums64 = program.weights64, memory.codes64, memory.sums64
        _convolve_blocks(layer, program, memory, sample, weights64, codes64, sums64)
    else:
        raise ValueError("no kernel for this compute type")


@jit
def _convolve_blocks(
    layer: ConvolutionRecord,
    program: Program,
    memory: Memory,
    sample: Sample,
    weights: NDArray[Any],
    codes: NDArray[Any],
    sums: NDArray[Any],
) -> None:
    """The sums of one block of pixels after the other; the arrays are of one compute type."""
    for group in range(layer.dot.groups):
        for first in range(0, layer.dot.pixels, layer.dot.block):
            if memory.stop[0]:
                return
            _accumulate(layer, program.constants, weights, codes, group, first, sums)
            requantize_block(layer, program, memory, sample, sums, group, first)
            if sample.keep:
                keep_block(layer, sums, group, first, memory.accumulators[sample.row])


@jit
def _accumulate(
    layer: ConvolutionRecord,
    constants: NDArray[np.int64],
    weights: NDArray[Any],
    codes: NDArray[Any],
    group: int,
    first: int,
    sums: NDArray[Any],
) -> None:
    """Sums of a block of pixels from pixel `first` on, as (parts, block, columns / parts)."""
    dot = layer.dot
    columns, width, block = dot.columns, dot.columns // dot.parts, dot.block
    panel = dot.weights_at + group * dot.quads * 4 * columns
    codes_at = layer.codes.start + group * dot.group_channels
    row = sums[block * columns : (block + 1) * columns]  # scratch: one pixel's sums, all parts
    for i in range(min(block, dot.pixels - first)):
        window = codes_at + constants[dot.windows_at + first + i]
        row[:] = 0
        if layer.quantizer.odd.indices_at != NOWHERE:
            _add_both_planes(layer, constants, weights, codes, panel, window, row)
        else:
            _add_quads(layer, constants, weights, codes, panel, window, row)
        for part in range(dot.parts):
            at = (part * block + i) * width
            sums[at : at + width] = row[part * width : (part + 1) * width]


@jit
def _add_quads(
    layer: ConvolutionRecord,
    constants: NDArray[np.int64],
    weights: NDArray[Any],
    codes: NDArray[Any],
    panel: int,
    window: int,
    row: NDArray[Any],
) -> None:
    """Add the products of a window, whose first code stands at `window`, to a pixel's sums."""
    columns, quads_at = layer.dot.columns, layer.dot.quads_at
    for k in range(layer.dot.quads):
        quad = window + constants[quads_at + k]
        a, b, c, d = codes[quad], codes[quad + 1], codes[quad + 2], codes[quad + 3]
        if a == 0 and b == 0 and c == 0 and d == 0:
            continue
        start = panel + 4 * k * columns
        w = weights[start : start + 4 * columns]
        for j in range(columns):
            row[j] += (
                a * w[j] + b * w[columns + j] + c * w[2 * columns + j] + d * w[3 * columns + j]
            )


@jit
def _add_both_planes(
    layer: ConvolutionRecord,
    constants: NDArray[np.int64],
    weights: NDArray[Any],
    codes: NDArray[Any],
    panel: int,
    window: int,
    row: NDArray[Any],
) -> None:
    """The same of two planes, of which a quad of either that is all 0 adds nothing.

    The difference of a small code is 0 more often than the code: 0.5 to 1.06 steps are 1 in both.
    Places are unsigned, as a signed one is compared with 0 each time, in case it counts from the
    end.
    """
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    columns, plane = np.uint64(layer.dot.columns), np.uint64(layer.codes.plane)
    quads, quads_at = layer.dot.quads // 2, layer.dot.quads_at
    behind, start = four * np.uint64(quads) * columns, np.uint64(panel)
    for k in range(quads):
        quad = np.uint64(window + constants[quads_at + k])
        a, b, c, d = codes[quad], codes[quad + one], codes[quad + two], codes[quad + three]
        other = quad + plane
        e, f, g, h = codes[other], codes[other + one], codes[other + two], codes[other + three]
        has_codes, has_differences = (a | b | c | d) != 0, (e | f | g | h) != 0
        w1, w2, w3 = start + columns, start + two * columns, start + three * columns
        v0, v1, v2, v3 = start + behind, w1 + behind, w2 + behind, w3 + behind
        if has_codes and has_differences:
            for j in range(columns):
                row[j] += (
                    a * weights[start + j]
                    + b * weights[w1 + j]
                    + c * weights[w2 + j]
                    + d * weights[w3 + j]
                ) + (
                    e * weights[v0 + j]
                    + f * weights[v1 + j]
                    + g * weights[v2 + j]
                    + h * weights[v3 + j]
                )
        elif has_codes:
            for j in range(columns):
                row[j] += (
                    a * weights[start + j]
                    + b * weights[w1 + j]
                    + c * weights[w2 + j]
                    + d * weights[w3 + j]
                )
        elif has_differences:
            for j in range(columns):
                row[j] += (
                    e * weights[v0 + j]
                    + f * weights[v1 + j]
                    + g * weights[v2 + j]
                    + h * weights[v3 + j]
                )
        start += four * columns
