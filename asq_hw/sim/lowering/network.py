"""IntegerNetwork to Program: the one place that knows the layers and the kernels' tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import (
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
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.products import Product
from asq_hw.sim.budget import Budget, plan_bytes, weight_bytes
from asq_hw.sim.jit import Kernel
from asq_hw.sim.lowering.fusion import fused_relus
from asq_hw.sim.lowering.memory_plan import (
    Layout,
    block_pixels,
    pixels_at_once,
    plan_memory,
    transformed_row,
)
from asq_hw.sim.lowering.packing import PackedWeights, pack_weights
from asq_hw.sim.lowering.tables import Tables, finish
from asq_hw.sim.lowering.weight_layout import arrange, quads_in_words
from asq_hw.sim.program import Kind, Program

__all__ = ["Plan", "lower"]

_NOT_POOLED = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A network made ready for the kernels."""

    program: Program
    layout: Layout
    step_names: tuple[str, ...]
    """Layers in the order of the program's steps."""
    taken_bytes: int
    """What it took at most, with one thread's memory."""


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
    made = Tables(kernel=kernel, ends={name: relu_ends(relu, maps) for name, relu in fused.items()})
    absorbed = {relu.name for relu in fused.values()}
    for made.layer, layer in enumerate(network.layers):
        if layer.name not in absorbed:
            _add_layer(made, layer, maps, layout, packed, product)
    return Plan(
        program=finish(made),
        layout=layout,
        taken_bytes=taken,
        step_names=tuple(network.layers[layer].name for _, _, layer in made.steps),
    )


def _add_layer(
    made: Tables,
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
    made: Tables,
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


def _quantizer_row(made: Tables, quantizer: ActivationQuantizer) -> dict[str, int]:
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


def _stage_row(made: Tables, stage: AdapterStage) -> dict[str, int]:
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
    made: Tables,
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
