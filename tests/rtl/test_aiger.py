"""And-inverter graphs: the half adder of the format's own paper, and numbers of several bytes."""

from __future__ import annotations

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


def test_outputs_behind_the_first_stand_aside() -> None:
    data = b"aig 5 2 0 2 3\n10\n6\n" + bytes([2, 2, 3, 2, 1, 2])
    graph = Graph.read(data)
    assert (graph.output, graph.aside) == (10, [6])
    assert graph.write() == data


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
        (b"aig 1 1 0 0 0\n", "must have an output"),
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
