"""Memory that a simulation will take, added up before it is taken."""

from __future__ import annotations

from collections.abc import Mapping

from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear, Lookup
from asq_hw.numbers.products import Product
from asq_hw.sim.limits import ANY_NETWORK_BYTES, EACH_WEIGHT_BYTES
from asq_hw.sim.lowering.memory_plan import Layout, memory_bytes, pixels_at_once
from asq_hw.sim.lowering.packing import PackedWeights, packed_bytes
from asq_hw.sim.lowering.weight_layout import offset_keys
from asq_hw.sim.program import PIXEL_TILE

__all__ = ["Budget", "default_memory_limit", "plan_bytes", "weight_bytes"]

_WORD = 8
_COPIES = 2
"""Tables stand twice where they are joined."""


def default_memory_limit(network: IntegerNetwork) -> int:
    """Bytes that a simulation may take if nothing else is said: 2 GiB, and 64 for each weight.

    So a small file cannot ask for much, and a large network has what it needs.
    """
    weights = sum(
        layer.weight_codes.size for layer in network.layers if isinstance(layer, Conv | Linear)
    )
    return ANY_NETWORK_BYTES + EACH_WEIGHT_BYTES * weights


class Budget:
    """A limit, and the network that it holds for.

    Parameters
    ----------
    network : IntegerNetwork
    limit : int or None
        Bytes; None for `default_memory_limit`.

    Raises
    ------
    InputError
        If `limit` is not an integer of at least 1.
    """

    def __init__(self, network: IntegerNetwork, limit: int | None) -> None:
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InputError(f"memory limit must be an integer of at least 1, not {limit!r}")
        self.name = network.name
        self.limit = default_memory_limit(network) if limit is None else limit

    def check(self, taken: int) -> None:
        """Raise InputError if `taken` bytes are more than the limit."""
        if taken > self.limit:
            raise InputError(
                f"simulating {self.name} would take {taken} bytes of memory, more than the "
                f"memory limit of {self.limit}"
            )


def weight_bytes(network: IntegerNetwork, product: Product) -> int:
    """Bytes of all packed weights, and of what passes while the largest layer is packed."""
    taken = [
        packed_bytes(layer, product) for layer in network.layers if isinstance(layer, Conv | Linear)
    ]
    return sum(kept for kept, _ in taken) + max((passing for _, passing in taken), default=0)


def plan_bytes(network: IntegerNetwork, packed: Mapping[str, PackedWeights], layout: Layout) -> int:
    """Bytes of weights and tables, and of one thread's memory: what every run of the plan takes."""
    maps = network.feature_maps()
    words = 0
    lists: dict[object, int] = {}
    for layer in network.layers:
        if isinstance(layer, Lookup):
            words += layer.values.size
        if not isinstance(layer, Conv | Linear):
            continue
        weights, shape = packed[layer.name], maps[layer.name].shape
        windows, outputs = offset_keys(weights, layer, layout.codes[layer.name], shape)
        lists[windows] = shape[1] * shape[2] + PIXEL_TILE
        lists[outputs] = (shape[1] + 1) * (shape[2] + 1)
        words += weights.tables.size + layer.bias.size * (2 + pixels_at_once(weights, layer))
        words += weights.weights[0, ..., 0].size
    tables = _COPIES * _WORD * (words + sum(lists.values()))
    copies = sum(4 * weights.weights.nbytes for weights in packed.values())
    return tables + copies + memory_bytes(layout, 1)
