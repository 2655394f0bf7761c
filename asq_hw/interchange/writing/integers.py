"""The contract's rules on integers (docs/arithmetic.md, section 1), as operators on int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from asq_hw.interchange.writing.graph import GraphWriter

__all__ = ["add", "clamp", "multiply", "rdiv", "rshift"]


def add(graph: GraphWriter, value: str, constant: ArrayLike) -> str:
    """``value + constant``; nothing where that changes nothing."""
    return value if not np.any(constant) else graph.op("Add", value, graph.constant(constant))


def multiply(graph: GraphWriter, value: str, constant: ArrayLike) -> str:
    """``value * constant``; nothing where that changes nothing."""
    same = bool(np.all(np.asarray(constant) == 1))
    return value if same else graph.op("Mul", value, graph.constant(constant))


def rshift(graph: GraphWriter, value: str, shift: int) -> str:
    """``value * 2**-shift`` to the nearest integer, a tie up.

    ONNX divides towards zero, and shifts unsigned integers alone; what the division would round is
    taken off before.
    """
    if shift == 0:
        return value
    raised = add(graph, value, 1 << (shift - 1))
    rest = graph.op("BitwiseAnd", raised, graph.constant((1 << shift) - 1))
    whole = graph.op("Sub", raised, rest)
    return graph.op("Div", whole, graph.constant(1 << shift))


def rdiv(graph: GraphWriter, numerator: str, denominator: str) -> str:
    """``numerator / denominator`` to the nearest integer, a tie up.

    Parameters
    ----------
    graph : GraphWriter
    numerator, denominator : str
        The second is positive.
    """
    doubled = graph.op("Mul", denominator, graph.constant(2))
    raised = graph.op("Add", multiply(graph, numerator, 2), denominator)
    rest = graph.op("Mod", raised, doubled)  # of the divisor's sign, as in Python
    return graph.op("Div", graph.op("Sub", raised, rest), doubled)


def clamp(graph: GraphWriter, value: str, low: int, high: int, output: str | None = None) -> str:
    """The integer of ``low .. high`` that is nearest.

    Parameters
    ----------
    graph : GraphWriter
    value : str
        An int64 tensor.
    low, high : int
        Both ends are allowed.
    output : str, optional
        Name of what is made.

    By comparisons: ONNX Runtime's Clip, Min and Max get some int64 wrong that 32 bits do not hold.
    """
    least, most = graph.constant(low), graph.constant(high)
    raised = graph.op("Where", graph.op("Less", value, least), least, value)
    is_above = graph.op("Greater", raised, most)
    return graph.op("Where", is_above, most, raised, output=output)
