"""What two copies have in common becomes one, and what they have not stays two."""

from __future__ import annotations

import pytest

from rtl.verify.aiger import Graph
from rtl.verify.sharing import data_of, relaxed, shared

SIDES = ("a.", "b.")


def pair(changed: int) -> Graph:
    """Two copies of r := x, s := r; the second one's s takes what literal `changed` says.

    Inputs x (2) and pick (4); registers a.r (6), a.s (8), b.r (10), b.s (12); 14 is pick & b.r.
    The output is 1 where the copies of s differ.
    """
    return Graph(
        inputs=["x", "pick"],
        registers=["a.r", "a.s", "b.r", "b.s"],
        nexts=[2, 6, 2, changed],
        gates=[(10, 4), (8, 13), (9, 12), (17, 19)],
        output=21,
    )


def test_copies_that_do_the_same_are_one() -> None:
    graph, common = shared(pair(10), SIDES, {})
    assert graph.output == 0
    assert common == {"a.r", "a.s"}


def test_a_constant_makes_copies_equal_or_different() -> None:
    """The second copy's s takes r where pick is 1, else 0."""
    graph, common = shared(pair(14), SIDES, {"pick": 1})
    assert (graph.output, common) == (0, {"a.r", "a.s"})
    graph, common = shared(pair(14), SIDES, {"pick": 0})
    assert graph.output != 0
    assert common == {"a.r"}
    assert graph.registers == ["a.r", "a.s", "b.s"]


def test_a_difference_reaches_what_is_behind_it_even_in_a_circle() -> None:
    """Each copy has r := s and s := r, but the second one's s takes not r: nothing is common."""
    graph = Graph(
        inputs=[],
        registers=["a.r", "a.s", "b.r", "b.s"],
        nexts=[4, 2, 8, 7],
        gates=[(2, 7), (3, 6), (11, 13)],
        output=15,
    )
    made, common = shared(graph, SIDES, {})
    assert common == frozenset()
    assert made.registers == graph.registers
    assert made.output != 0


def test_an_input_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="the graph has no input other"):
        shared(pair(10), SIDES, {"other": 1})


def test_a_free_register_is_an_input_and_what_is_not_read_is_gone() -> None:
    graph, _ = shared(pair(14), SIDES, {"pick": 0})
    made = relaxed(graph, {"a.r"})
    assert made.inputs == ["x", "pick", "a.r"]
    assert made.registers == ["a.s", "b.s"]
    assert made.nexts == [6, 0]  # a.r is the third variable; b.s takes 0
    assert made.output != 0


def test_words_are_data_by_their_width() -> None:
    wide, narrow = {f"a.sum[{n}]" for n in range(9)}, {f"a.turn[{n}]" for n in range(8)}
    assert data_of(wide | narrow | {"a.valid"}, 8) == wide
