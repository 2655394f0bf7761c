"""Constants at the inputs of and-inverter graphs, on the half adder of the format's own paper."""

from __future__ import annotations

import pytest

from rtl.verify.aiger import with_constants

NAMES = b"i0 x\ni1 y\no0 s\no1 c\nc\nhalf adder\n"
# Gates 6 = 4 & 2 (carry), 8 = 5 & 3, 10 = 9 & 7 (sum).
HALF_ADDER = b"aig 5 2 0 2 3\n10\n6\n" + bytes([2, 2, 3, 2, 1, 2]) + NAMES


def test_a_constant_stands_where_the_input_stood() -> None:
    # x = 1: 6 = 4 & 1, 8 = 5 & 0, 10 as it was.
    made = b"aig 5 2 0 2 3\n10\n6\n" + bytes([2, 3, 3, 5, 1, 2])
    assert with_constants(HALF_ADDER, {"x": 1}) == made
    # y = 0: 6 = 2 & 0, 8 = 3 & 1, in the order that the format asks for.
    made = b"aig 5 2 0 2 3\n10\n6\n" + bytes([4, 2, 5, 2, 1, 2])
    assert with_constants(HALF_ADDER, {"y": 0}) == made


def test_registers_and_outputs_read_the_constant_and_long_distances_are_kept() -> None:
    # One register (4, from 0) that takes not x; the outputs are x and y = 90 inputs later.
    graph = b"aig 92 90 1 2 1\n3 0\n2\n184\n" + bytes([2, 0x80 | 52, 1]) + b"i0 x\n"
    made = b"aig 92 90 1 2 1\n0 0\n1\n184\n" + bytes([2, 0x80 | 53, 1])
    assert with_constants(graph, {"x": 1}) == made


@pytest.mark.parametrize(
    ("graph", "values", "message"),
    [
        (b"aag 1 1 0 0 0\n", {}, "must begin with 'aig' and five numbers"),
        (b"aig 1 1 0 0 0 1\n", {}, "must begin with 'aig' and five numbers"),
        (b"aig 7 2 0 2 3\n", {}, "without gaps"),
        (HALF_ADDER, {"z": 1}, "must be among x, y, not z"),
    ],
)
def test_what_is_no_such_graph_is_refused(
    graph: bytes, values: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        with_constants(graph, values)
