"""And-inverter graphs: the half adder of the format's own paper, and numbers of several bytes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from rtl.verify.aiger import Builder, Graph

NAMES = b"i0 x\ni1 y\no0 c\nc\ni9 half adder\n"
# Gates 6 = 4 & 2 (carry), 8 = 5 & 3, 10 = 9 & 7 (sum).
HALF_ADDER = b"aig 5 2 0 1 3\n10\n" + bytes([2, 2, 3, 2, 1, 2])


def test_a_graph_is_read_and_written_as_the_format_says() -> None:
    graph = Graph.read(HALF_ADDER + NAMES)
    assert (graph.inputs, graph.registers, graph.nexts) == (["x", "y"], [], [])
    assert graph.gates == [(4, 2), (5, 3), (9, 7)]
    assert graph.output == 10
    assert graph.write() == HALF_ADDER


def test_registers_and_distances_of_several_bytes() -> None:
    # 90 inputs, a register that takes not x, and its gate 184 = 182 & 2.
    data = b"aig 92 90 1 1 1\n3\n184\n" + bytes([2, 0x80 | 52, 1])
    graph = Graph.read(data + b"i0 x\nl0 r[3] other\n")
    assert (graph.inputs[0], graph.registers, graph.nexts) == ("x", ["r[3]"], [3])
    assert graph.gates == [(182, 2)]
    assert graph.write() == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"aag 1 1 0 1 0\n2\n", "must begin with aig and 5 numbers"),
        (b"aig 1 1 0 1 0 1\n2\n", "must begin with aig and 5 numbers"),
        (b"aig 7 2 0 1 3\n2\n", "no variable that is nothing"),
        (b"aig 1 1 0 0 0\n", "must have one output"),
        (b"aig 1 0 1 1 0\n2 1\n2\n", "registers must begin at 0"),
    ],
)
def test_what_is_no_such_graph_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph.read(data)


def test_gates_that_say_nothing_new_are_not_made() -> None:
    builder = Builder(2)
    x, y = 2, 4
    assert (builder.join(x, 0), builder.join(1, x)) == (0, x)
    assert (builder.join(x, x), builder.join(x, x ^ 1)) == (x, 0)
    assert builder.join(x, y) == builder.join(y, x) == 6
    assert builder.join(x, y ^ 1) == 8
    assert builder.gates == [(2, 4), (2, 5)]


def test_gates_that_others_decide_are_not_made() -> None:
    """Leaves x 2, y 4, z 6; gate 8 is x and y."""
    builder = Builder(3)
    both = builder.join(2, 4)
    assert both == 8
    assert builder.join(both, 2) == both
    assert builder.join(both, 3) == 0
    assert builder.join(both ^ 1, 3) == 3
    assert builder.join(both ^ 1, 2) == builder.join(2, 5)
    assert builder.join(both, builder.join(5, 6)) == 0
    assert len(builder.gates) == 3


def test_joined_gates_are_the_gates_that_were_given() -> None:
    """Drawn gates over five leaves, each with all 32 values of these at once."""
    source = random.Random(1)
    leaves = [sum(((n >> k) & 1) << n for n in range(32)) for k in range(5)]
    for _ in range(300):
        gates = [(source.randrange(2 * (6 + n)), source.randrange(2 * (6 + n))) for n in range(40)]
        builder = Builder(5)
        literals = builder.add(gates, [2, 4, 6, 8, 10])
        given, made = _values(leaves, gates), _values(leaves, builder.gates)
        assert [_value(made, literal) for literal in literals] == given
        assert len(set(map(frozenset, builder.gates))) == len(builder.gates)


def _values(leaves: Sequence[int], gates: Iterable[tuple[int, int]]) -> list[int]:
    values = [0, *leaves]
    for one, other in gates:
        values.append(_value(values, one) & _value(values, other))
    return values


def _value(values: Sequence[int], literal: int) -> int:
    return values[literal >> 1] ^ (0xFFFFFFFF if literal & 1 else 0)
