"""What induction over guesses proves is so, whatever is guessed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from rtl.verify.aiger import Graph
from rtl.verify.guesses import ALWAYS, Guesses, Relation, guessed
from rtl.verify.induction import assuming, holds_by_cases

SIDES = ("a.", "b.")


def evaluated(graph: Graph, state: tuple[int, ...], given: tuple[int, ...]) -> list[int]:
    """Each variable's value."""
    values = [0, *given, *state]
    for one, other in graph.gates:
        values.append((values[one >> 1] ^ one & 1) & (values[other >> 1] ^ other & 1))
    return values


def is_ever_true(graph: Graph) -> bool:
    """Whether the output is 1 in any state that can be reached, by going to each of them."""
    waiting = [(0,) * len(graph.registers)]
    reached = set(waiting)
    while waiting:
        state = waiting.pop()
        for given in product((0, 1), repeat=len(graph.inputs)):
            values = evaluated(graph, state, given)
            if values[graph.output >> 1] ^ graph.output & 1:
                return True
            following = tuple(values[literal >> 1] ^ literal & 1 for literal in graph.nexts)
            if following not in reached:
                reached.add(following)
                waiting.append(following)
    return False


def drawn_graph(source: random.Random) -> Graph:
    """Two copies with registers v, d and r each, drawn gates, and an output that is often 0."""
    registers = ["a.v", "a.d", "a.r", "b.v", "b.d", "b.r"]
    leaves = 2 + len(registers)
    gates = []
    for number in range(12):
        one, other = (source.randrange(2, 2 * (leaves + number + 1)) for _ in range(2))
        gates.append((one, other))
    some = range(2, 2 * (leaves + len(gates) + 1))
    nexts = source.choices(some, k=3)
    # The second copy does mostly what the first one does, or what it does with the second's own.
    nexts += [source.choice([literal, literal, source.choice(some)]) for literal in nexts]
    last = 2 * (leaves + len(gates))
    gates += [(10, 17), (11, 16), (last + 3, last + 5)]
    return Graph(
        inputs=["rst", "x"], registers=registers, nexts=nexts, gates=gates, output=last + 7
    )


def drawn_relations(source: random.Random) -> list[Relation]:
    """True and false ones."""
    registers = range(6, 18, 2)
    return [
        Relation(
            source.choice([ALWAYS, *(r ^ source.randrange(2) for r in registers)]),
            source.choice(range(12, 18, 2)),
            source.choice([0, 1, 6, 8, 10]),
        )
        for _ in range(source.randrange(1, 6))
    ]


def cases() -> Iterator[tuple[Graph, list[Relation]]]:
    """Drawn graphs, each with relations that a run leaves and with others."""
    source = random.Random(7)
    for _ in range(100):
        graph = drawn_graph(source)
        yield graph, list(guessed(graph, SIDES, most_control_bits=8).relations)
        for _ in range(4):
            yield graph, drawn_relations(source)


def test_what_is_proven_is_so_and_no_wrong_guess_proves_anything() -> None:
    """Every state that there is was gone to; some are proven by each way, and some are not so."""
    seen = set()
    for graph, relations in cases():
        told = is_ever_true(graph)
        kept = not is_ever_true(assuming(graph, relations))
        by_cases = holds_by_cases(graph, relations, goes_on=lambda: True)
        assert not (told and kept)
        assert not (told and by_cases)
        seen.add((told, kept, by_cases))
    assert {way for told, *ways in seen if not told for way in ways} == {True, False}
    assert (True, False, False) in seen


def late(*, is_right: bool = True) -> Graph:
    """Two copies of v := x and d := x, whose results take d where v is 1, and else stay.

    The second copy's d is 1 behind a reset, where v is 0. Unless it is right, the results take it
    where x is 1. Inputs rst 2, x 4; registers a.v 6, a.d 8, a.r 10, b.d 12, b.r 14.
    """
    gates = [
        (3, 4),  # 16: x, or 0 with the reset
        (3, 5),  # 18: not x and no reset; b.d takes its inverse
        (6, 8),
        (7, 10),
        (21, 23),  # 24: a.r takes its inverse
        (6 if is_right else 4, 12),
        (7 if is_right else 5, 14),
        (27, 29),  # 30: b.r takes its inverse
        (10, 15),
        (11, 14),
        (33, 35),  # 36: results are equal
    ]
    return Graph(
        inputs=["rst", "x"],
        registers=["a.v", "a.d", "a.r", "b.d", "b.r"],
        nexts=[16, 16, 25, 19, 31],
        gates=gates,
        output=37,
    )


def guesses(graph: Graph) -> Guesses:
    return guessed(graph, SIDES, most_control_bits=8)


def test_what_matters_only_while_it_is_valid_may_differ() -> None:
    found = guesses(late())
    assert not found.is_wrong
    assert found.equal == {"a.r"}
    assert Relation(6, 12, 8) in found.relations  # where a.v is 1
    assert Relation(7, 12, 8) not in found.relations
    assert holds_by_cases(late(), found.relations, goes_on=lambda: True)
    always = [relation for relation in found.relations if relation.guard == ALWAYS]
    assert not holds_by_cases(late(), always, goes_on=lambda: True)


def test_a_difference_that_shows_is_seen_and_not_proven() -> None:
    wrong = late(is_right=False)
    assert is_ever_true(wrong)
    assert guesses(wrong).is_wrong
    assert not holds_by_cases(wrong, guesses(late()).relations, goes_on=lambda: True)


def test_a_run_that_is_out_of_time_proves_nothing() -> None:
    assert not holds_by_cases(late(), guesses(late()).relations, goes_on=lambda: False)


def test_a_relation_that_is_false_at_the_beginning_is_no_premise() -> None:
    """A register that keeps its value is never 1; that it were would keep itself, too."""
    graph = Graph(inputs=["rst"], registers=["b.k"], nexts=[4], gates=[], output=5)
    assert is_ever_true(graph)
    assert not holds_by_cases(graph, [Relation(ALWAYS, 4, 1)], goes_on=lambda: True)


@pytest.mark.parametrize("following", [13, 14])
def test_a_difference_with_a_reset_alone_or_without_one_counts(following: int) -> None:
    """The second register takes x or rst, or x and rst, where the first one takes x."""
    graph = Graph(
        inputs=["rst", "x"],
        registers=["a.k", "b.k"],
        nexts=[4, following],
        gates=[(6, 9), (3, 5), (2, 4), (7, 8), (11, 17)],
        output=19,
    )
    assert is_ever_true(graph)
    assert not holds_by_cases(graph, [Relation(ALWAYS, 8, 6)], goes_on=lambda: True)


def test_what_is_assumed_is_owed() -> None:
    """Registers that take x and not x: if they are assumed to be equal, the output says no."""
    graph = Graph(
        inputs=["rst", "x"],
        registers=["a.k", "b.k"],
        nexts=[4, 5],
        gates=[(6, 9), (7, 8), (11, 13)],
        output=15,
    )
    equal = Relation(ALWAYS, 8, 6)
    assert is_ever_true(assuming(graph, [equal]))
    same = replace(graph, nexts=[4, 4])
    assert assuming(same, [equal]).output == 0
