"""A dot-product unit in its network: every sum of a layer, as the simulator has it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from asq_hw.network.layers import Conv, Linear
from rtl.mac.design import wrapped
from rtl.mac.dot_product import DotProduct
from rtl.quantizer.of_layer import LayerUnits
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.met import Extent, Traced
from rtl.verify.simulators import Simulator
from rtl.verify.sums_bench import SumsBench, Work
from rtl.verify.traced import images_for, trace

__all__ = ["check_sums_in_network", "run_sums", "windows", "work_of"]

Integers = NDArray[np.int64]

_SUMS = 40_000
"""Sums of a network that a unit is given, about, where a part of them is."""
_ROWS_AT_A_TIME = 200_000
"""Of activations, in the memory of the test bench."""


def check_sums_in_network(design: DotProduct, units: LayerUnits, extent: Extent) -> list[Check]:
    """Simulator's sums = those of the emitted Verilog, all of as many images as are gone through.

    Parameters
    ----------
    design : DotProduct
        The unit, with the accumulators of the layer.
    units : LayerUnits
        Network and layer.
    extent : Extent
        How many images; but for `Extent.whole`, as many of them as make some ten thousand sums.
    """
    sums_each = int(np.prod(units.network.feature_maps()[units.layer.name].shape))
    count = min(extent.images, max(1, -(-extent.of(extent.images * sums_each, _SUMS) // sums_each)))
    images = images_for(units.network, count)

    def run() -> Outcome:
        return run_sums(design, units.layer, trace(units, images))

    return [timed(f"{design.name} in {units.layer.name} sums", Method.NETWORK, run)]


def run_sums(
    design: DotProduct,
    layer: Conv | Linear,
    traced: Traced,
    simulator: Simulator = Simulator.VERILATOR,
) -> Outcome:
    """Whether the unit's Verilog makes a layer's traced sums, so many images at a time.

    Parameters
    ----------
    design : DotProduct
        The unit.
    layer : Conv or Linear
        Whose weights it is given.
    traced : Traced
        What the layer met and made.
    simulator : Simulator
        What runs the Verilog.
    """
    sums = {port.name: made for port, made in zip(design.outputs, traced.sums, strict=True)}
    for port in design.outputs:
        low, high = port.range
        if sums[port.name].min() < low or sums[port.name].max() > high:
            detail = f"{port.name} must carry {sums[port.name].max()}, and has {port.width} bits"
            return Outcome(cases=0, passed=False, detail=detail)
    made = 0
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        bench = None
        for work in _in_chunks(design, layer, traced):
            bench = bench or SumsBench(design, work, Path(name), simulator=simulator)
            result = bench.run(work)
            if not result.passed:
                return Outcome(cases=made, passed=False, detail=result.verdict)
            made += next(iter(work.sums.values())).size
    images = len(traced.steps)
    return Outcome(cases=made, passed=made > 0, detail=f"all sums of {images} images are equal")


def _in_chunks(design: DotProduct, layer: Conv | Linear, traced: Traced) -> Iterator[Work]:
    """The work of some images after the other; the first have as many as any."""
    parts = -(-layer.weight_codes[0].size // design.lanes)
    places = traced.sums[0][0, 0].size
    groups = layer.groups if isinstance(layer, Conv) else 1
    at_a_time = max(1, _ROWS_AT_A_TIME // (parts * places * groups))
    for first in range(0, len(traced.steps), at_a_time):
        yield work_of(design, layer, traced, slice(first, first + at_a_time))


def work_of(design: DotProduct, layer: Conv | Linear, traced: Traced, samples: slice) -> Work:
    """A layer's dot products, lane by lane; what fills the last part up are activations of 0.

    Of a unit with deferred signs, each sum has its weights' excess in it, as its width holds it.

    Parameters
    ----------
    design : DotProduct
        The unit.
    layer : Conv or Linear
        Weights and windows.
    traced : Traced
        The layer's tensors.
    samples : slice
        Which of the samples.
    """
    codes = {"activation": traced.codes}
    if traced.odd_codes is not None:
        codes["second"] = traced.odd_codes
    split = partial(_in_parts, lanes=design.lanes)
    operands = {name: split(windows(layer, made[samples])) for name, made in codes.items()}
    at_port = {stored: code for code, stored in design.mac.weight_codes.items()}
    codes_of = [at_port[stored] for stored in layer.weight_codes.reshape(-1).tolist()]
    weights = np.array(codes_of, dtype=np.int64).reshape(layer.out_channels, -1)
    # Which weight stands where an activation is 0 does not matter; it must be one.
    parts = split(weights, fill=int(weights[0, 0]))
    excess = design.excess(parts.reshape(layer.out_channels, -1))
    sums = {}
    for port, made in zip(design.outputs, traced.sums, strict=True):
        exact = made[samples].reshape(len(made[samples]), layer.out_channels, -1)
        sums[port.name] = wrapped(exact + excess[port.name][:, None], port.width)
    return Work(operands=operands, weights=parts, sums=sums)


def _in_parts(values: Integers, *, lanes: int, fill: int = 0) -> Integers:
    """The last axis in parts of so many: int64 (..., parts, lanes)."""
    missing = -values.shape[-1] % lanes
    padding = [(0, 0)] * (values.ndim - 1) + [(0, missing)]
    padded = np.pad(values, padding, constant_values=fill)
    return padded.reshape(*values.shape[:-1], -1, lanes)


def windows(layer: Conv | Linear, codes: Integers) -> Integers:
    """What each output's weights meet, in their order: int64 (N, groups, places, K).

    Parameters
    ----------
    layer : Conv or Linear
        Whose windows.
    codes : int64 (N, C, H, W)
        Codes of activations; outside of the map they are 0.
    """
    if isinstance(layer, Linear):
        return codes.reshape(len(codes), 1, 1, -1)
    (down, across), (sy, sx), (dy, dx) = layer.padding, layer.stride, layer.dilation
    padded = np.pad(codes, [(0, 0), (0, 0), (down, down), (across, across)])
    height, width = layer.weight_codes.shape[2:]
    spans = ((height - 1) * dy + 1, (width - 1) * dx + 1)
    views = sliding_window_view(padded, spans, axis=(2, 3))[:, :, ::sy, ::sx, ::dy, ::dx]
    samples, channels, rows, columns = views.shape[:4]
    apart = views.reshape(samples, layer.groups, channels // layer.groups, rows * columns, -1)
    return np.moveaxis(apart, 2, 3).reshape(samples, layer.groups, rows * columns, -1)
