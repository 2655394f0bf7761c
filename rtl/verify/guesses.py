"""What two copies of a circuit seem to have in common: what random operations never deny.

A guess proves nothing. It is for proofs that go by induction to begin with: what they cannot show,
they drop.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rtl.verify.aiger import Graph
from rtl.verify.sharing import word_widths

__all__ = ["ALWAYS", "RESET", "Guesses", "Relation", "guessed"]

ALWAYS = 1
"""The literal that is true, as a relation's guard."""

RESET = "rst"
"""Name of the input that is seldom 1 in a run, but in its first cycle."""

_CYCLES = 160
"""Of a run: some operations, whatever they take."""
_LANES = 1024
"""Runs side by side, a bit each."""
_RESETS = 6
"""One cycle in 2 to the power of this has a reset."""
_SEED = 1


@dataclass(frozen=True, slots=True)
class Relation:
    """Two literals that are equal wherever a third one is 1; of registers, or constants.

    Parameters
    ----------
    guard, register, other : int
        `register` is equal to `other` where `guard` is 1.
    """

    guard: int
    register: int
    other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """What a run of a graph showed.

    Parameters
    ----------
    is_wrong : bool
        Whether the output was 1 once: this is no guess.
    equal : frozenset of str
        Names of the first copy's registers that the second one's always were equal to.
    relations : tuple of Relation
        That they were; that others were where a bit of the control had a value; and that bits of
        the control were constant there.
    """

    is_wrong: bool
    equal: frozenset[str]
    relations: tuple[Relation, ...]


def guessed(graph: Graph, sides: tuple[str, str], *, most_control_bits: int) -> Guesses:
    """What random operations show of two copies.

    Parameters
    ----------
    graph : Graph
        Both copies; its registers begin at 0.
    sides : tuple of str
        What the names of the first and of the second copy's registers begin with.
    most_control_bits : int
        A wider word of registers is no control.
    """
    left = _candidates(graph, sides, most_control_bits)
    is_wrong = False
    for values, mask in _run(graph):

        def value(literal: int, values: list[int] = values, mask: int = mask) -> int:
            return values[literal >> 1] ^ (-(literal & 1) & mask)

        is_wrong = is_wrong or value(graph.output) != 0
        left = [
            relation
            for relation in left
            if not value(relation.guard) & (value(relation.register) ^ value(relation.other))
        ]
    base = len(graph.inputs) + 1
    equal = {graph.registers[(r.other >> 1) - base] for r in left if r.guard == ALWAYS}
    return Guesses(is_wrong=is_wrong, equal=frozenset(equal), relations=tuple(left))


def _candidates(graph: Graph, sides: tuple[str, str], most_control_bits: int) -> list[Relation]:
    """All that a run may leave, those that hold always first."""
    first, second = sides
    widths = word_widths(graph.registers)
    base = len(graph.inputs) + 1
    literals = {name: 2 * (base + place) for place, name in enumerate(graph.registers)}
    pairs = [
        (literal, literals[twin])
        for name, literal in literals.items()
        if name.startswith(second) and (twin := first + name.removeprefix(second)) in literals
    ]
    control = [name for name in literals if widths[name] <= most_control_bits]
    constants = [literals[name] for name in control if name.startswith(sides)]
    single = [literals[name] for name in control if name.startswith(first) and widths[name] == 1]
    guards = [literal ^ value for literal in single for value in (0, 1)]
    return [
        *(Relation(ALWAYS, register, other) for register, other in pairs),
        *(Relation(guard, register, other) for guard in guards for register, other in pairs),
        *(
            Relation(guard, register, constant)
            for guard in guards
            for register in constants
            for constant in (0, 1)
            if register != guard & ~1
        ),
    ]


def _run(graph: Graph) -> Iterator[tuple[list[int], int]]:
    """Each variable's values in each cycle, a lane a bit, and the bits that there are."""
    source = random.Random(_SEED)
    mask = (1 << _LANES) - 1
    registers = [0] * len(graph.registers)
    for cycle in range(_CYCLES):
        values = [0]
        for name in graph.inputs:
            drawn = source.getrandbits(_LANES)
            if name == RESET:
                for _ in range(_RESETS - 1):
                    drawn &= source.getrandbits(_LANES)
                drawn |= 0 if cycle else mask
            values.append(drawn)
        values += registers
        for one, other in graph.gates:
            values.append(
                (values[one >> 1] ^ (-(one & 1) & mask))
                & (values[other >> 1] ^ (-(other & 1) & mask))
            )
        yield values, mask
        registers = [values[literal >> 1] ^ (-(literal & 1) & mask) for literal in graph.nexts]
