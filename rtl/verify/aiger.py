"""And-inverter graphs: AIGER's binary form, and rebuilding one with what is known of its leaves.

A literal is twice a variable's number, plus 1 where it is inverted; 0 is false, 1 is true.
Variables are inputs, then registers, which begin at 0, then gates, each behind the two literals
that it joins (Biere, The AIGER And-Inverter Graph Format, 2007).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Builder", "Graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Inputs and registers with names, gates, and an output.

    Parameters
    ----------
    inputs, registers : sequence of str
        Their names.
    nexts : sequence of int
        The literal that each register takes.
    gates : sequence of pair of int
        The literals that each gate joins.
    output : int
        A literal.
    """

    inputs: Sequence[str]
    registers: Sequence[str]
    nexts: Sequence[int]
    gates: Sequence[tuple[int, int]]
    output: int

    @staticmethod
    def read(data: bytes) -> Graph:
        """The graph of a binary AIGER file, with names.

        Raises
        ------
        ValueError
            If it is no such file.
        """
        header, _, rest = data.partition(b"\n")
        word, *numbers = header.split()
        if word != b"aig" or len(numbers) != 5:
            raise ValueError(
                f"a binary AIGER file must begin with aig and 5 numbers, not {header!r}"
            )
        most, inputs, registers, outputs, gates = map(int, numbers)
        if most != inputs + registers + gates or outputs != 1:
            raise ValueError("an AIGER file must have one output, and no variable that is nothing")
        *lines, rest = rest.split(b"\n", registers + 1)
        if any(len(line.split()) != 1 for line in lines):
            raise ValueError("an AIGER file's registers must begin at 0")
        literals = [int(line) for line in lines]
        pairs, rest = _read_gates(rest, 2 * (inputs + registers + 1), gates)
        names = _read_names(rest)
        return Graph(
            inputs=[names.get(f"i{number}", "") for number in range(inputs)],
            registers=[names.get(f"l{number}", "") for number in range(registers)],
            nexts=literals[:registers],
            gates=pairs,
            output=literals[registers],
        )

    def write(self) -> bytes:
        """A binary AIGER file, without names."""
        counts = (len(self.inputs), len(self.registers), 1, len(self.gates))
        most = counts[0] + counts[1] + counts[3]
        header = " ".join(map(str, ("aig", most, *counts)))
        lines = [header, *map(str, self.nexts), str(self.output)]
        made = bytearray("\n".join(lines).encode() + b"\n")
        for gate, pair in enumerate(self.gates, start=len(self.inputs) + len(self.registers) + 1):
            low, high = sorted(pair)
            made += _number(2 * gate - high) + _number(high - low)
        return bytes(made)


class Builder:
    """Gates over leaves, each pair of literals joined once, and nothing that is constant.

    Parameters
    ----------
    leaves : int
        Inputs and registers.
    """

    def __init__(self, leaves: int) -> None:
        self.gates: list[tuple[int, int]] = []
        self._first = leaves + 1
        self._known: dict[tuple[int, int], int] = {}

    def join(self, one: int, other: int) -> int:
        """The literal of both."""
        low, high = (one, other) if one < other else (other, one)
        if low == 0 or low ^ 1 == high:
            return 0
        if low == 1 or low == high:
            return high
        literal = self._known.get((low, high))
        if literal is None:
            literal = self._known[low, high] = self._joined(low, high)
        return literal

    def _joined(self, low: int, high: int) -> int:
        """The literal of two different ones: a new gate, where no gate behind them says more."""
        for literal, other in ((high, low), (low, high)):
            behind = self._behind(literal)
            if other ^ 1 in behind:
                # Of x and not-x with anything, nothing is left; of x or anything, x.
                return other if literal & 1 else 0
            if other in behind:
                if not literal & 1:
                    return literal
                one, two = behind
                return self.join(other, (two if one == other else one) ^ 1)
        if not low & 1 and not high & 1:
            mine = self._behind(high)
            if any(literal ^ 1 in mine for literal in self._behind(low)):
                return 0
        self.gates.append((low, high))
        return 2 * (self._first + len(self.gates) - 1)

    def _behind(self, literal: int) -> tuple[int, ...]:
        """The two literals that the gate behind one joins; nothing for a leaf."""
        place = (literal >> 1) - self._first
        return self.gates[place] if place >= 0 else ()

    def add(self, gates: Iterable[tuple[int, int]], leaves: Sequence[int]) -> list[int]:
        """A graph's gates over other leaves: the literal of each of its variables, 0 for false."""
        literals = [0, *leaves]
        join = self.join
        for one, other in gates:
            literals.append(
                join(literals[one >> 1] ^ (one & 1), literals[other >> 1] ^ (other & 1))
            )
        return literals


def _read_gates(data: bytes, first: int, count: int) -> tuple[list[tuple[int, int]], bytes]:
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    pairs = []
    for gate in range(count):
        high = first + 2 * gate - number()
        pairs.append((high, high - number()))
    return pairs, data[place:]


def _read_names(data: bytes) -> Mapping[str, str]:
    """The first name of each, by its kind's letter and number."""
    names = {}
    for line in data.decode().split("\n"):
        if line == "c":
            break
        key, _, name = line.partition(" ")
        names[key] = name.partition(" ")[0]
    return names


def _number(value: int) -> bytes:
    """A number as AIGER writes it: seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
