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
from asq_hw.sim.budget import Budget, plan_bytes, weight_bytes
from asq_hw.sim.fusion import fused_relus
from asq_hw.sim.jit import Kernel
from asq_hw.sim.memory import (
    Layout,
    aligned,
    block_pixels,
    pixels_at_once,
    plan_memory,
    transformed_row,
)
from asq_hw.sim.pack import LANE_TYPES, PackedWeights, pack_weights
from asq_hw.sim.panels import Places, arrange, quads_in_words
from asq_hw.sim.program import VECTOR, Kind, Lane, Program

__all__ = ["Plan", "lower"]

_NOT_POOLED = -1
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
    step_names: tuple[str, ...]
    """Layers in the order of the program's steps."""
    taken_bytes: int
    """What it took at most, with one thread's memory."""


@dataclass(slots=True)
class _Tables:
    """The program's tables while they grow."""

    kernel: Kernel
    ends: dict[str, tuple[int, int]]
    """What the outputs of layers that are computed with a ReLU are clamped to."""
    layer: int = 0
    """Number of the layer that is being added, in the network's order."""
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    rows: dict[str, list[dict[str, int]]] = field(
        default_factory=lambda: {name: [] for name in _TABLES}
    )
    constants: list[IntArray] = field(default_factory=list)
    constant_count: int = 0
    places: Places = field(default_factory=Places)
    places_at: dict[int, int] = field(default_factory=dict)
    """Where lists of places stand among the constants, by the identity of what `places` holds."""
    starts: list[IntArray] = field(default_factory=list)
    biases: list[IntArray] = field(default_factory=list)
    adapters: list[IntArray] = field(default_factory=list)
    weights: dict[Lane, list[NDArray[np.signedinteger]]] = field(
        default_factory=lambda: {lane: [] for lane in Lane}
    )

    def add_step(self, kind: Kind, table: str, **row: int) -> None:
        self.steps.append((int(kind), len(self.rows[table]), self.layer))
        self.rows[table].append(row)

    def add_constants(self, values: IntArray) -> int:
        """Where the values stand among the constants."""
        at = self.constant_count
        self.constants.append(values.reshape(-1))
        self.constant_count += values.size
        return at

    def add_places(self, values: IntArray) -> int:
        """The same, for a list out of `places`: once for all layers of its geometry."""
        if id(values) not in self.places_at:
            self.places_at[id(values)] = self.add_constants(values)
        return self.places_at[id(values)]

    def add_starts(self, values: IntArray) -> int:
        at = sum(array.size for array in self.starts)
        self.starts.append(values.reshape(-1))
        return at

    def add_biases(self, values: IntArray) -> int:
        """The same, where whole vectors may be read."""
        at = sum(array.size for array in self.biases)
        self.biases += [values, np.zeros(VECTOR, dtype=np.int64)]
        return at

    def add_adapter(self, values: IntArray) -> int:
        at = sum(array.size for array in self.adapters)
        self.adapters.append(values.reshape(-1))
        return at

    def add_weights(self, lane: Lane, values: NDArray[np.signedinteger]) -> int:
        at = sum(array.size for array in self.weights[lane])
        self.weights[lane].append(values.reshape(-1).astype(LANE_TYPES[lane], copy=False))
        return at


def lower(
    network: IntegerNetwork,
    product: Product,
    *,
    kernel: Kernel,
    keep: bool,
    budget: Budget | None = None,
) -> Plan:
    """Pack weights, place every map in memory and write the program.

    With `keep` every intermediate tensor has a place of its own.

    Raises
    ------
    InputError
        If that would take more memory than the budget has; it is not taken.
    """
    budget = Budget(network, None) if budget is None else budget
    budget.check(weight_bytes(network, product))
    maps = network.feature_maps()
    packed = {
        layer.name: pack_weights(layer, product, vectors=kernel is not Kernel.PORTABLE)
        for layer in network.layers
        if isinstance(layer, Conv | Linear)
    }
    fused = {} if keep else fused_relus(network)
    layout = plan_memory(network, packed, fused, keep=keep)
    budget.check(taken := plan_bytes(network, packed, layout))
    made = _Tables(
        kernel=kernel, ends={name: relu_ends(relu, maps) for name, relu in fused.items()}
    )
    absorbed = {relu.name for relu in fused.values()}
    for made.layer, layer in enumerate(network.layers):
        if layer.name not in absorbed:
            _add_layer(made, layer, maps, layout, packed, product)
    return Plan(
        program=_finish(made),
        layout=layout,
        taken_bytes=taken,
        step_names=tuple(network.layers[layer].name for _, _, layer in made.steps),
    )


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

    starts = np.concatenate([np.zeros(0, dtype=np.int64), *made.starts])
    return Program(
        steps=np.array(made.steps, dtype=program_tables.STEP),
        **{name: table(name) for name in _TABLES},
        constants=np.concatenate([np.zeros(0, dtype=np.int64), *made.constants]),
        starts=starts.astype(np.int32),
        starts16=starts.astype(np.int16),
        adapters=np.concatenate([*made.adapters, np.zeros(VECTOR, dtype=np.int64)]).astype(np.int8),
        biases=np.concatenate([np.zeros(0, dtype=np.int64), *made.biases]).astype(np.int32),
        weights8=flat(Lane.INT8, np.int8),
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
    floor, ceiling = made.ends.get(layer.name, (low, high))
    place = {"destination": layout.maps[layer.name], "low": low, "high": high}
    place |= {"floor": floor, "ceiling": ceiling}
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
            floor, ceiling = relu_ends(layer, maps)
            place |= {"floor": floor, "ceiling": ceiling, "source": layout.maps[layer.source]}
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


def relu_ends(layer: Relu, maps: dict[str, FeatureMap]) -> tuple[int, int]:
    """The smallest and the largest value that a ReLU gives."""
    high = integer_range(maps[layer.name].format.bits)[1]
    return 0, high if layer.maximum is None else layer.maximum


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
    floor, ceiling = made.ends.get(layer.name, (low, high))
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
        floor=floor,
        ceiling=ceiling,
        multiplier_at=made.add_constants(layer.multiplier),
        bias_at=made.add_constants(np.tile(layer.bias, at_once)),
        biases_at=made.add_biases(layer.bias),
        pixels_at_once=at_once,
        narrow_shift=layer.narrow_shift,
        shift=layer.shift,
        fraction_bits=product.fraction_bits(layer.weight_grid),
        **_quantizer_row(made, layer.quantizer),
        pooled=_pooled(layer, layout),
        pools=layout.pooled.get(layer.name, _NOT_POOLED),
        # Pixels whose values have a sum of 32 bits.
        pool_pixels=1 << (32 - maps[layer.source].format.bits),
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


def _pooled(layer: Conv | Linear, layout: Layout) -> int:
    """Where the sums of the source's channels stand when the layer's turn comes."""
    adaptive = isinstance(layer.quantizer.step, AdaptiveStep)
    return layout.pooled.get(layer.source, _NOT_POOLED) if adaptive else _NOT_POOLED


def _stage_row(made: _Tables, stage: AdapterStage) -> dict[str, int]:
    return {
        "inputs": int(stage.weight.shape[1]),
        "outputs": int(stage.weight.shape[0]),
        "weight_at": made.add_adapter(stage.weight),
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
    panels = arrange(packed, layer, region, maps[layer.name].shape, made.places)
    return {
        "lane": packed.lane,
        "method": packed.method,
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
        "quads": panels.quads.size,
        "quads_at": made.add_constants(panels.quads),
        "pixels": maps[layer.name].shape[1] * maps[layer.name].shape[2],
        "pixels_at": made.add_places(panels.pixels),
        "places_at": made.add_places(panels.places),
        "tiles": panels.tiles,
        "tiles_across": panels.tiles_across,
        "transformed_row": transformed_row(region.channels),
        "transform_offset": panels.transform_offset,
        "run": quads_in_words(panels) if made.kernel is Kernel.AVX2 else 0,
        "block": block_pixels(packed),
        "weights": made.add_weights(packed.lane, panels.weights),
        "starts_at": made.add_starts(panels.starts),
        "pair": packed.parts == 2,
        "finish": packed.finish,
        "split_bits": packed.split_bits,
    }
