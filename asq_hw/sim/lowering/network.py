"""IntegerNetwork to Program: the one place that knows the layers and the kernels' records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Select,
)
from asq_hw.numbers.products import Product
from asq_hw.sim.budget import Budget, plan_bytes, weight_bytes
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.lowering.context import Context
from asq_hw.sim.lowering.convolution import convolution_record
from asq_hw.sim.lowering.fusion import fused_relus
from asq_hw.sim.lowering.memory_plan import Layout, plan_memory
from asq_hw.sim.lowering.packing import pack_weights
from asq_hw.sim.lowering.plain_layers import (
    add_record,
    average_pool_record,
    concat_records,
    flatten_record,
    input_record,
    lookup_record,
    max_pool_record,
    pad_record,
    product_record,
    relu_record,
    select_record,
)
from asq_hw.sim.lowering.tables import LayerRecord, Tables
from asq_hw.sim.program import Program

__all__ = ["Plan", "lower"]


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

    Parameters
    ----------
    network : IntegerNetwork
        What is to be run.
    product : Product
        How weights with the square root of two are multiplied.
    kernel : Kernel
        Instruction set.
    keep : bool
        Whether every intermediate tensor has a place of its own.
    budget : Budget, optional
        Memory that there is; None: what the machine has.

    Raises
    ------
    InputError
        If that would take more memory than the budget has; it is not taken.
    """
    budget = Budget(network, None) if budget is None else budget
    budget.check(weight_bytes(network, product))
    packed = {
        layer.name: pack_weights(layer, product, vectors=kernel is not Kernel.PORTABLE)
        for layer in network.layers
        if isinstance(layer, Conv | Linear)
    }
    fused = {} if keep else fused_relus(network)
    layout = plan_memory(network, packed, fused, keep=keep)
    budget.check(taken := plan_bytes(network, packed, layout))
    context = Context(
        tables=Tables(),
        numbers={layer.name: number for number, layer in enumerate(network.layers)},
        maps=network.feature_maps(),
        layout=layout,
        packed=packed,
        fused=fused,
        product=product,
        kernel=kernel,
    )
    absorbed = {relu.name for relu in fused.values()}
    for number, layer in enumerate(network.layers):
        if layer.name not in absorbed:
            for record in _records(layer, context):
                context.tables.add_step(number, record)
    return Plan(
        program=context.tables.program(),
        layout=layout,
        taken_bytes=taken,
        step_names=tuple(network.layers[step.layer].name for step in context.tables.steps),
    )


def _records(layer: Layer, context: Context) -> list[LayerRecord]:
    """The steps that compute a layer, in order."""
    match layer:
        case Input():
            return [input_record(layer, context)]
        case Conv() | Linear():
            return [convolution_record(layer, context)]
        case Add():
            return [add_record(layer, context)]
        case Multiply():
            return [product_record(layer, context)]
        case Lookup():
            return [lookup_record(layer, context)]
        case Concat():
            return [*concat_records(layer, context)]
        case Pad():
            return [pad_record(layer, context)]
        case Select():
            return [select_record(layer, context)]
        case Relu():
            return [relu_record(layer, context)]
        case Flatten():
            return [flatten_record(layer, context)]
        case MaxPool():
            return [max_pool_record(layer, context)]
        case AveragePool() | GlobalAveragePool():
            return [average_pool_record(layer, context)]
        case _:
            assert_never(layer)
