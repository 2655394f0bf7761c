"""What an order of the weights costs on the packaged network: indices, and lanes that stay empty.

``python -m analysis.studies.ordering`` prints the tables of docs/mac.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.studies.measured import markdown
from analysis.studies.workload import nearest_codes
from asq_hw.files.packaged import PACKAGED_MODEL
from asq_hw.guard import guarded
from asq_hw.modelfile import load
from asq_hw.network.layers import Conv
from asq_hw.numbers.schemes import POST

__all__ = ["cycles_ratio", "index_bits", "own_weights", "tables"]

Integers = NDArray[np.int64]

LANES = (4, 8, 16)


def own_weights() -> list[Integers]:
    """Signed powers of each layer's weights, 1 for the smallest and 0 for zero: (outputs, K)."""
    made = []
    for layer in load(PACKAGED_MODEL).layers:
        if isinstance(layer, Conv) and layer.weight_grid.scheme is POST:
            table = layer.weight_grid.decode_table()
            powers = np.zeros(max(table) + 1, dtype=np.int64)
            for code, (even, odd) in table.items():
                size = abs(even) or abs(odd)
                if size:
                    power = 2 * (size.bit_length() - 1) + bool(odd) + 1
                    powers[code] = math.copysign(power, even + odd)
            made.append(powers[layer.weight_codes.reshape(len(layer.weight_codes), -1)])
    return made


def index_bits(layers: Sequence[Integers]) -> float:
    """Bits that name one of a dot product's activations, the mean over all weights."""
    bits = sum(each.size * (int(each.shape[1]) - 1).bit_length() for each in layers)
    weights = sum(int(each.size) for each in layers)
    return bits / weights


def as_uniform(powers: Integers) -> Integers:
    """The same weights on the uniform grid of 15 levels, at the layer's best scale."""
    values = np.sign(powers) * np.where(powers == 0, 0, math.sqrt(2) ** (np.abs(powers) - 1.0))
    levels = {level: float(level) for level in range(-7, 8)}
    return nearest_codes(values.reshape(-1), levels).reshape(powers.shape)


def cycles_ratio(
    layers: Sequence[Integers], group: Callable[[Integers], Integers], lanes: int
) -> float:
    """Cycles of dot products whose groups begin cycles of their own, over those of any order.

    Parameters
    ----------
    layers : sequence of int64 (outputs, K)
        Weights.
    group : callable
        Group of each weight; -1 for one that is left out.
    lanes : int
        Products in a cycle.
    """
    taken = plain = 0
    for weights in layers:
        groups = group(weights)
        for row in groups:
            _, counts = np.unique(row[row >= 0], return_counts=True)
            taken += int((-(-counts // lanes)).sum())
        plain += len(weights) * -(-weights.shape[1] // lanes)
    return taken / plain


def _parity(powers: Integers) -> Integers:
    return np.where(powers == 0, -1, (np.abs(powers) + 1) % 2)


def _magnitude(weights: Integers) -> Integers:
    return np.where(weights == 0, -1, np.abs(weights))


def tables() -> Iterable[str]:
    """Bits for each weight; cycles of each order."""
    layers = own_weights()
    bits = index_bits(layers)
    everything = np.concatenate([each.reshape(-1) for each in layers])
    nonzero = everything[everything != 0]
    even = float(np.mean(np.abs(nonzero) % 2))
    facts = {
        "weights of 4 bits": f"{everything.size:,}",
        "zeros among them": f"{100 * np.mean(everything == 0):.1f} %",
        "even powers among the others": f"{100 * even:.1f} %",
        "index bits for each weight": f"{bits:.1f}",
        "weight memory with indices, over without": f"{(4 + bits) / 4:.1f}",
    }
    yield markdown(["of the packaged network", ""], [[key, value] for key, value in facts.items()])
    uniform = [as_uniform(each) for each in layers]
    orders: Mapping[str, tuple[Sequence[Integers], Callable[[Integers], Integers]]] = {
        "POST, even powers first": (layers, _parity),
        "POST, sorted": (layers, _magnitude),
        "uniform, sorted": (uniform, _magnitude),
    }
    lines = [
        [name, *(f"{cycles_ratio(weights, group, lanes):.2f}" for lanes in LANES)]
        for name, (weights, group) in orders.items()
    ]
    heads = [f"{lanes} lanes" for lanes in LANES]
    yield markdown(["cycles over any order, zeros left out", *heads], lines)


def main(arguments: Sequence[str]) -> int:
    """Print the tables as Markdown."""
    if arguments:
        print("usage: python -m analysis.studies.ordering", file=sys.stderr)
        return 2
    print("\n".join(tables()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.ordering", lambda: main(sys.argv[1:])))
