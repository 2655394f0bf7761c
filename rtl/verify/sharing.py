"""Two copies of a circuit in one graph: what is the same in both becomes one.

A register of the second copy is the first one's if both begin alike and are, as long as all such
pairs are equal, given what is literally the same: an induction whose step needs no solver. It
leaves what a difference reaches beside a single circuit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Set

from rtl.verify.aiger import Builder, Graph

__all__ = ["data_of", "relaxed", "shared", "word_widths"]

_PLACE = re.compile(r"\[\d+\]$")


def shared(
    graph: Graph,
    sides: tuple[str, str],
    constants: Mapping[str, int],
) -> tuple[Graph, frozenset[str]]:
    """The graph with inputs of some names constant, and what both copies share made one.

    Parameters
    ----------
    graph : Graph
        Registers of the copies have the same names behind the copy's own.
    sides : tuple of str
        What the names of the first and of the second copy's registers begin with.
    constants : mapping of int
        0 or 1 by an input's name.

    Returns
    -------
    graph : Graph
        It has the same inputs, and no register of the second copy that is one of the first.
    names : frozenset of str
        The first copy's registers that are the second one's too.

    Raises
    ------
    ValueError
        If there is no input of such a name.
    """
    missing = constants.keys() - set(graph.inputs)
    if missing:
        raise ValueError(f"the graph has no input {', '.join(sorted(missing))}")
    count = len(graph.inputs)
    inputs = [constants.get(name, 2 * n) for n, name in enumerate(graph.inputs, start=1)]
    places = {name: place for place, name in enumerate(graph.registers)}
    twins = {
        place: places[twin]
        for name, place in places.items()
        if name.startswith(sides[1]) and (twin := sides[0] + name.removeprefix(sides[1])) in places
    }
    while True:
        leaves = [
            2 * (count + 1 + twins.get(place, place)) for place in range(len(graph.registers))
        ]
        builder = Builder(count + len(graph.registers))
        literals = builder.add(graph.gates, inputs + leaves)
        nexts = [literals[literal >> 1] ^ (literal & 1) for literal in graph.nexts]
        apart = [place for place, twin in twins.items() if nexts[place] != nexts[twin]]
        if not apart:
            break
        for place in apart:
            del twins[place]
    output = literals[graph.output >> 1] ^ (graph.output & 1)
    made = Graph(
        inputs=graph.inputs,
        registers=graph.registers,
        nexts=nexts,
        gates=builder.gates,
        output=output,
    )
    names = frozenset(graph.registers[twin] for twin in twins.values())
    return relaxed(made, frozenset()), names


def relaxed(graph: Graph, free: Set[str]) -> Graph:
    """What the output depends on; registers of these names become inputs, which may be anything.

    What is never 1 in the made graph is never 1 in the given one.
    """
    count = len(graph.inputs)
    first_gate = count + len(graph.registers) + 1
    needed = {graph.output >> 1}
    waiting = [graph.output >> 1]
    while waiting:
        variable = waiting.pop()
        if variable >= first_gate:
            behind: tuple[int, ...] = graph.gates[variable - first_gate]
        elif variable > count and graph.registers[variable - count - 1] not in free:
            behind = (graph.nexts[variable - count - 1],)
        else:
            continue
        for literal in behind:
            if literal >> 1 not in needed:
                needed.add(literal >> 1)
                waiting.append(literal >> 1)
    places = [n for n in range(len(graph.registers)) if count + 1 + n in needed]
    freed = [n for n in places if graph.registers[n] in free]
    kept = [n for n in places if graph.registers[n] not in free]
    order = [*range(1, count + 1), *(count + 1 + n for n in (*freed, *kept))]
    number: dict[int, int] = {0: 0} | {v: place for place, v in enumerate(order, start=1)}
    gates = [v for v in range(first_gate, first_gate + len(graph.gates)) if v in needed]
    number |= {v: place for place, v in enumerate(gates, start=len(order) + 1)}

    def changed(literal: int) -> int:
        return 2 * number[literal >> 1] | (literal & 1)

    return Graph(
        inputs=[*graph.inputs, *(graph.registers[n] for n in freed)],
        registers=[graph.registers[n] for n in kept],
        nexts=[changed(graph.nexts[n]) for n in kept],
        gates=[
            (changed(one), changed(other))
            for one, other in (graph.gates[v - first_gate] for v in gates)
        ],
        output=changed(graph.output),
    )


def word_widths(registers: Iterable[str]) -> dict[str, int]:
    """By each register's name, how many of them are bits of its word."""
    words = {name: _PLACE.sub("", name) for name in registers}
    widths = Counter(words.values())
    return {name: widths[word] for name, word in words.items()}


def data_of(registers: Set[str], most_control_bits: int) -> Set[str]:
    """Those of the registers that are bits of words with more bits than that."""
    widths = word_widths(registers)
    return {name for name in registers if widths[name] > most_control_bits}
