"""Guesses about two copies of a circuit, assumed now and owed of the next state.

What both copies begin with is equal, and a step that keeps all that it assumes keeps it for ever:
a difference in the results, if there is one, then shows in a circuit that has no second copy of
what is assumed to be equal (Mony, Baumgartner and others, Speculative reduction, 2005).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import product

from rtl.verify.aiger import Builder, Graph
from rtl.verify.guesses import ALWAYS, RESET, Relation

__all__ = ["assuming", "holds_by_cases"]


def assuming(graph: Graph, relations: Iterable[Relation]) -> Graph:
    """The graph with relations taken for true, whose output is also 1 where a step breaks one.

    If that output is never 1, then the given graph's is never 1, and the relations hold for ever.

    Parameters
    ----------
    graph : Graph
        Its registers begin at 0.
    relations : iterable of Relation
        Registers that always are equal to others.
    """
    assumed = [relation for relation in relations if relation.guard == ALWAYS]
    case = _Case(graph, assumed, inputs=_inputs(graph))
    bad = case.output
    for relation in assumed:
        bad = case.builder.join(bad ^ 1, case.owed(relation) ^ 1) ^ 1
    return replace(graph, nexts=case.nexts, gates=case.builder.gates, output=bad)


def holds_by_cases(
    graph: Graph, relations: Collection[Relation], *, goes_on: Callable[[], bool]
) -> bool:
    """Whether the output is 0 for ever, by those of the relations that keep each other.

    A relation is kept if a step from any state in which the relations hold leads to it: as gates
    with nothing behind them, for both values of one of the guards and of the reset. No solver is
    asked, and no multiplier matters that has the same inputs in both copies. Relations that are not
    kept are dropped, and the rest is tried again.

    Parameters
    ----------
    graph : Graph
        Its registers begin at 0.
    relations : collection of Relation
        Guesses.
    goes_on : callable
        Whether there is time for another try.
    """
    left = [relation for relation in relations if _begins_true(relation)]
    while goes_on():
        used = _needed(left)
        open_ = _not_kept(graph, used)
        if None in open_:
            return False
        if not open_:
            return True
        left = [relation for relation in left if relation not in open_]
    return False


def _begins_true(relation: Relation) -> bool:
    """Whether it holds where all registers are 0."""
    return not relation.guard & 1 or relation.register & 1 == relation.other & 1


def _needed(relations: Sequence[Relation]) -> list[Relation]:
    """Those that no other one of the same registers implies."""
    always = {(r.register, r.other) for r in relations if r.guard == ALWAYS}
    return [r for r in relations if r.guard == ALWAYS or (r.register, r.other) not in always]


def _not_kept(graph: Graph, relations: Sequence[Relation]) -> set[Relation | None]:
    """Relations that a step may break; None stands for the output."""
    open_: set[Relation | None] = {None, *relations}
    guards = dict.fromkeys(relation.guard & ~1 for relation in relations if relation.guard > 1)
    for values in ((ALWAYS,), *((guard, guard ^ 1) for guard in guards)):
        shown = set(open_)
        for guard, reset in product(values, (0, 1)):
            case = _Case(graph, relations, inputs=_inputs(graph, reset), guard=guard)
            shown = {r for r in shown if (case.output if r is None else case.owed(r)) == 0}
            if not shown:
                break
        open_ -= shown
        if not open_:
            break
    return open_


def _inputs(graph: Graph, reset: int | None = None) -> list[int]:
    """Literals of the inputs, with a constant reset if there is to be one."""
    return [
        reset if name == RESET and reset is not None else 2 * number
        for number, name in enumerate(graph.inputs, start=1)
    ]


class _Case:
    """The graph's gates over leaves that relations have made simpler, where a guard is 1."""

    def __init__(
        self,
        graph: Graph,
        relations: Iterable[Relation],
        *,
        inputs: Sequence[int],
        guard: int = ALWAYS,
    ) -> None:
        count = len(inputs)
        leaves = [0, *inputs, *(2 * (count + 1 + n) for n in range(len(graph.registers)))]
        if guard != ALWAYS:
            leaves[guard >> 1] = 1 ^ (guard & 1)
        # Constants first: what is equal to one is constant, too.
        for relation in sorted(relations, key=lambda r: r.other > 1):
            if relation.guard in (ALWAYS, guard):
                leaves[relation.register >> 1] = leaves[relation.other >> 1] ^ (relation.other & 1)
        self._first = count + 1
        self.builder = Builder(len(leaves) - 1)
        literals = self.builder.add(graph.gates, leaves[1:])
        self.nexts = [literals[literal >> 1] ^ (literal & 1) for literal in graph.nexts]
        self.output = literals[graph.output >> 1] ^ (graph.output & 1)

    def owed(self, relation: Relation) -> int:
        """Literal of whether the next state breaks a relation."""
        join = self.builder.join
        register, other = self._next(relation.register), self._next(relation.other)
        same = join(join(register, other) ^ 1, join(register ^ 1, other ^ 1) ^ 1) ^ 1
        return join(self._next(relation.guard), same ^ 1)

    def _next(self, literal: int) -> int:
        if literal <= 1:
            return literal
        return self.nexts[(literal >> 1) - self._first] ^ (literal & 1)
