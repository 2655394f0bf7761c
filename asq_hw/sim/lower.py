"""IntegerNetwork to Program: the one place that knows the layers and the kernels' tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from asq_hw.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.checks import IntArray
from asq_hw.fixedpoint import integer_range
from asq_hw.layers import (
    Add,
    AveragePool,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    MaxPool,
    Relu,
)
from asq_hw.network import FeatureMap, IntegerNetwork
from asq_hw.products import Product
from asq_hw.sim import program as program_tables
from asq_hw.sim.memory import Layout, aligned, block_pixels, pixels_at_once, plan_memory
from asq_hw.sim.pack import PackedWeights, pack_weights
from asq_hw.sim.program import PIXEL_TILE, Kind, Lane, Program

__all__ = ["Plan", "lower"]

_TABLES = {
    "inputs": program_tables.INPUT,
    "convs": program_tables.CONV,
    "elementwise": program_tables.ELEMENTWISE,
    "pools": program_tables.POOL,
    "stages": program_tables.STAGE,
}
"""Record types by the program's fields."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A network made ready for the kernels."""

    program: Program
    layout: Layout


@dataclass(slots=True)
class _Tables:
    """The program's tables while they grow."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    rows: dict[str, list[dict[str, int]]] = field(
        default_factory=lambda: {name: [] for name in _TABLES}
    )
    constants: list[IntArray] = field(default_factory=list)
    constant_count: int = 0
    starts: list[IntArray] = field(default_factory=list)
    weights: dict[Lane, list[IntArray]] = field(default_factory=lambda: {lane: [] for lane in Lane})

    def add_step(self, kind: Kind, table: str, **row: int) -> None:
        self.steps.append((int(kind), len(self.rows[table])))
        self.rows[table].append(row)

    def add_constants(self, values: IntArray) -> int:
        """Where the values stand among the constants."""
        at = self.constant_count
        self.constants.append(values.reshape(-1))
        self.constant_count += values.size
        return at

    def add_starts(self, values: IntArray) -> int:
        at = sum(array.size for array in self.starts)
        self.starts.append(values.reshape(-1))
        return at

    def add_weights(self, lane: Lane, values: IntArray) -> int:
        at = sum(array.size for array in self.weights[lane])
        self.weights[lane].append(values.reshape(-1))
        return at


def lower(network: IntegerNetwork, product: Product, *, vnni: bool, keep: bool) -> Plan:
    """Pack weights, place every map in memory and write the program.

    With `keep` every intermediate tensor has a place of its own.
    """
    maps = network.feature_maps()
    packed = {
        layer.name: pack_weights(layer, product, vnni=vnni)
        for layer in network.layers
        if isinstance(layer, Conv | Linear)
    }
    layout = plan_memory(network, packed, keep=keep)
    made = _Tables()
    for layer in network.layers:
        _add_layer(made, layer, maps, layout, packed, product)
    return Plan(program=_finish(made), layout=layout)


def _finish(made: _Tables) -> Program:
    def table(name: str) -> NDArray[np.void]:
        kind = _TABLES[name]
        rows = [tuple(row.get(key, 0) for key in kind.names or ()) for row in made.rows[name]]
        return np.array(rows, dtype=kind)

    def flat(lane: Lane, kind: type) -> NDArray[np.signedinteger]:
        values = aligned(sum(array.size for array in made.weights[lane]), kind)
        if values.size:
            values[:] = np.concatenate(made.weights[lane])
        return values

    return Program(
        steps=np.array(made.steps, dtype=program_tables.STEP),
        **{name: table(name) for name in _TABLES},
        constants=np.concatenate([np.zeros(0, dtype=np.int64), *made.constants]),
        starts=np.concatenate([np.zeros(0, dtype=np.int64), *made.starts]).astype(np.int32),
        weights8=flat(Lane.VNNI, np.int8),
        weights32=flat(Lane.INT32, np.int32),
        weights64=flat(Lane.INT64, np.int64),
    )


def _add_layer(
    made: _Tables,
    layer: Layer,
    maps: dict[str, FeatureMap],
    layout: Layout,
    packed: dict[str, PackedWeights],
    product: Product,
) -> None:
    channels, height, width = maps[layer.name].shape
    low, high = integer_range(maps[layer.name].format.bits)
    place = {"destination": layout.maps[layer.name], "low": low, "high": high}
    match layer:
        case Input():
            made.add_step(
                Kind.INPUT,
                "inputs",
                **place,
                channels=channels,
                pixels=height * width,
                multiplier_at=made.add_constants(layer.multiplier),
                offset_at=made.add_constants(layer.offset),
                shift=layer.shift,
            )
        case Conv() | Linear():
            _add_weighted(made, layer, maps, layout, packed[layer.name], product)
        case Add():
            first, second = (layout.maps[name] for name in layer.sources)
            place |= {"source": first, "other": second}
            made.add_step(
                Kind.ADD, "elementwise", **place, channels=channels, pixels=height * width
            )
        case Relu():
            place |= {"low": 0, "high": high if layer.maximum is None else layer.maximum}
            place["source"] = layout.maps[layer.source]
            made.add_step(
                Kind.RELU, "elementwise", **place, channels=channels, pixels=height * width
            )
        case Flatten():
            source = maps[layer.source].shape
            place["source"] = layout.maps[layer.source]
            made.add_step(
                Kind.FLATTEN,
                "elementwise",
                **place,
                channels=source[0],
                pixels=source[1] * source[2],
            )
        case MaxPool():
            window = _window(layer, maps) | {"source": layout.maps[layer.source]}
            made.add_step(Kind.MAX_POOL, "pools", **place, **window)
        case AveragePool() | GlobalAveragePool():
            window = _window(layer, maps) | {"source": layout.maps[layer.source]}
            window |= {"multiplier": layer.multiplier, "shift": layer.shift}
            made.add_step(Kind.AVERAGE_POOL, "pools", **place, **window)
        case _:
            assert_never(layer)


def _window(
    layer: MaxPool | AveragePool | GlobalAveragePool, maps: dict[str, FeatureMap]
) -> dict[str, int]:
    """A pool's geometry; a global one has one window as large as the map."""
    channels, height, width = maps[layer.source].shape
    out_height, out_width = maps[layer.name].shape[1:]
    if isinstance(layer, GlobalAveragePool):
        kernel, stride, padding = (height, width), (1, 1), (0, 0)
    else:
        kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "out_height": out_height,
        "out_width": out_width,
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": stride[0],
        "stride_x": stride[1],
        "padding_y": padding[0],
        "padding_x": padding[1],
    }


def _add_weighted(
    made: _Tables,
    layer: Conv | Linear,
    maps: dict[str, FeatureMap],
    layout: Layout,
    packed: PackedWeights,
    product: Product,
) -> None:
    channels, height, width = maps[layer.source].shape
    low, high = integer_range(layer.output.bits)
    at_once = pixels_at_once(packed, layer)
    made.add_step(
        Kind.CONV,
        "convs",
        source=layout.maps[layer.source],
        destination=layout.maps[layer.name],
        channels=channels,
        height=height,
        width=width,
        indices=layout.indices[layer.name],
        codes=layout.codes[layer.name].start,
        accumulators=layout.accumulators[layer.name],
        out_channels=layer.out_channels,
        low=low,
        high=high,
        multiplier_at=made.add_constants(layer.multiplier),
        bias_at=made.add_constants(np.tile(layer.bias, at_once)),
        pixels_at_once=at_once,
        narrow_shift=layer.narrow_shift,
        shift=layer.shift,
        fraction_bits=product.fraction_bits(layer.weight_grid),
        **_quantizer_row(made, layer.quantizer),
        **_dot_row(made, layer, maps, layout, packed),
    )


def _quantizer_row(made: _Tables, quantizer: ActivationQuantizer) -> dict[str, int]:
    row = {
        "step_fraction_bits": quantizer.step_fraction_bits,
        "code_low": quantizer.grid.minimum,
        "code_high": quantizer.grid.maximum,
    }
    match quantizer.step:
        case FixedStep(step=step):
            return row | {"step_size": step}
        case AdaptiveStep() as adaptive:
            first = len(made.rows["stages"])
            made.rows["stages"].extend(_stage_row(made, stage) for stage in adaptive.stages)
            return row | {
                "stage": first,
                "stages": len(adaptive.stages),
                "pool_multiplier": adaptive.pool_multiplier,
                "pool_shift": adaptive.pool_shift,
            }
        case _:
            assert_never(quantizer.step)


def _stage_row(made: _Tables, stage: AdapterStage) -> dict[str, int]:
    return {
        "inputs": int(stage.weight.shape[1]),
        "outputs": int(stage.weight.shape[0]),
        "weight_at": made.add_constants(stage.weight),
        "bias_at": made.add_constants(stage.bias),
        "multiplier": stage.multiplier,
        "shift": stage.shift,
        "minimum": stage.minimum,
        "maximum": stage.maximum,
    }


def _dot_row(
    made: _Tables,
    layer: Conv | Linear,
    maps: dict[str, FeatureMap],
    layout: Layout,
    packed: PackedWeights,
) -> dict[str, int]:
    region = layout.codes[layer.name]
    quads, weights = _quads(packed, region.width)
    pixels = _pixels(layer, maps[layer.name].shape, region.width * region.pixel, region.pixel)
    return {
        "lane": packed.lane,
        "padded_width": region.width,
        "padding_y": region.padding[0],
        "padding_x": region.padding[1],
        "planes": len(packed.tables),
        "plane_at": made.add_constants(packed.tables),
        "groups": packed.groups,
        "group_channels": int(packed.weights.shape[4]),
        "group_outputs": layer.out_channels // packed.groups,
        "columns": packed.columns,
        "width_out": packed.columns // packed.parts,
        "quads": quads.size,
        "quads_at": made.add_constants(quads),
        "pixels": maps[layer.name].shape[1] * maps[layer.name].shape[2],
        "pixels_at": made.add_constants(pixels),
        "block": block_pixels(packed.columns),
        "weights": made.add_weights(packed.lane, weights),
        "starts_at": made.add_starts(packed.starts),
        "pair": packed.parts == 2,
    }


def _quads(packed: PackedWeights, padded_width: int) -> tuple[IntArray, IntArray]:
    """Places of the quads in a window, and the weights (groups, ...) in their order.

    Runs of weights whose codes stand side by side are padded with zero weights to whole quads; what
    the padding reads does not matter. In one group a run is a kernel's whole row.
    """
    groups, height, width, planes, inputs, columns = packed.weights.shape
    pixel = groups * inputs * planes
    rows = np.arange(height)[:, None, None] * padded_width * pixel
    if groups == 1:
        starts, length = rows.reshape(-1), width * pixel
    else:
        places = np.arange(width)[:, None] * pixel + np.arange(planes) * groups * inputs
        starts, length = (rows + places).reshape(-1), inputs
    count = -(-length // 4)
    runs = np.zeros((groups, starts.size, 4 * count, columns), dtype=np.int64)
    runs[:, :, :length] = packed.weights.reshape(groups, starts.size, length, columns)
    quads = (starts[:, None] + 4 * np.arange(count)).reshape(-1).astype(np.int64)
    if packed.lane is not Lane.VNNI:
        return quads, runs
    vectors = runs.reshape(groups, quads.size, 4, columns // 16, 16)
    return quads, vectors.transpose(0, 3, 1, 4, 2)


def _pixels(layer: Conv | Linear, shape: tuple[int, int, int], row: int, pixel: int) -> IntArray:
    """Where each output pixel's window starts; the last is repeated to fill a tile."""
    stride = layer.stride if isinstance(layer, Conv) else (1, 1)
    rows = np.arange(shape[1], dtype=np.int64)[:, None] * stride[0] * row
    places = (rows + np.arange(shape[2]) * stride[1] * pixel).reshape(-1)
    return np.pad(places, (0, -places.size % PIXEL_TILE), mode="edge")
