"""What an operator on maps is given."""

from __future__ import annotations

from collections.abc import Sequence

from asq_hw.interchange.reading.graph import Constant, Node
from asq_hw.interchange.reading.quantized.values import Fixed, Map

__all__ = ["Inputs", "constant", "only_map"]


Inputs = Sequence[Fixed | Map | None]
"""What a node is given: nothing where an optional tensor is left out."""


def only_map(node: Node, inputs: Inputs) -> Map:
    """The first input, which must be a map, and the only one."""
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) != 1 or not isinstance(inputs[0], Map):
        raise node.refused(f"{node.operator} must have one map, as its first input")
    return maps[0]


def constant(node: Node, inputs: Inputs, place: int, what: str) -> Constant:
    """An input that must be a constant.

    Parameters
    ----------
    node : Node
        Whose input it is.
    inputs : sequence
        All of them.
    place : int
        Its number.
    what : str
        Its name in messages.

    Raises
    ------
    InputError
        If it is a map, or left out.
    """
    found = inputs[place] if place < len(inputs) else None
    if not isinstance(found, Fixed):
        raise node.refused(f"{what} must be a constant")
    return found.values
