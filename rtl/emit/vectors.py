"""Test vectors: what goes in and what must come out, one row of hexadecimal fields a cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtl.design import Design, Port, Rows

__all__ = ["FIELD_SEPARATOR", "Field", "Vectors", "fields_of", "row_fields"]

FIELD_SEPARATOR = "_"
"""Between the fields of a row; ``$readmemh`` reads over it."""

_LINES_AT_A_TIME = 1 << 16
_LONG_GAPS = 1 / 128
"""Of the operations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A port's place in a row: `low` is the lowest bit's number, fields begin at a digit."""

    port: Port
    low: int

    @property
    def digits(self) -> int:
        """Hexadecimal digits of the field."""
        return -(-self.port.width // 4)


def row_fields(design: Design) -> tuple[Field, ...]:
    """Fields of a row from the highest to the lowest: the ports in their order."""
    return fields_of(design.ports)


def fields_of(ports: Sequence[Port]) -> tuple[Field, ...]:
    """The same for a row of these ports."""
    fields: list[Field] = []
    low = 0
    for port in reversed(ports):
        fields.append(Field(port=port, low=low))
        low += 4 * fields[-1].digits
    return tuple(reversed(fields))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """A sequence of cycles for one design, beginning after a reset.

    Parameters
    ----------
    design : Design
        Whose ports the columns are.
    columns : dict of int64 (N,) arrays
        By port, ``valid_in`` and ``valid_out`` among them: inputs of the cycle, and the outputs
        that answer them `Design.latency_cyc` later. Outputs count where ``valid_out`` is 1.
    """

    design: Design
    columns: dict[str, NDArray[np.int64]]

    @staticmethod
    def of(design: Design, inputs: Rows, *, gaps: NDArray[np.int64] | None = None) -> Vectors:
        """Vectors of operations with the reference's answers.

        Parameters
        ----------
        design : Design
            The design.
        inputs : mapping of int64 (N,) arrays
            A value of every data input, for each operation.
        gaps : int64 (N,) array, optional
            Cycles without an operation behind each one, beside those that the design needs.
        """
        idle = design.idle_cyc(inputs) + (0 if gaps is None else gaps)
        cycles = int((idle + 1).sum())
        places = np.concatenate([[0], np.cumsum(idle + 1)[:-1]]).astype(np.int64)
        # What stands at the inputs without valid_in must not matter: it is garbage.
        noise = np.random.default_rng(cycles)
        columns = {port.name: port.random_values(noise, cycles) for port in design.inputs}
        columns |= {port.name: np.zeros(cycles, dtype=np.int64) for port in design.outputs}
        for name, values in (*inputs.items(), *design.reference(inputs).items()):
            columns[name][places] = values
        columns["valid_in"] = np.zeros(cycles, dtype=np.int64)
        columns["valid_in"][places] = 1
        columns["valid_out"] = np.zeros(cycles, dtype=np.int64)
        columns["valid_out"][places] = design.emits(inputs)
        return Vectors(design=design, columns=columns)

    @staticmethod
    def random(design: Design, operations: int, *, seed: int = 1) -> Vectors:
        """Vectors of the design's own stimulus, with a gap behind one operation in eight.

        Most gaps are short. Where a design goes on by itself behind an operation that needs a
        pause, some are longer than that.
        """
        random = np.random.default_rng(seed)
        inputs = design.stimulus(random, operations)
        gaps = np.where(random.random(operations) < 0.125, random.integers(1, 4, operations), 0)
        if design.pause is not None:
            longest = design.latency_cyc + design.pause.idle_cyc + 2
            is_long = random.random(operations) < _LONG_GAPS
            gaps = np.where(is_long, random.integers(1, longest + 1, operations), gaps)
        return Vectors.of(design, inputs, gaps=gaps)

    @property
    def cycles(self) -> int:
        """Rows, one for each clock cycle."""
        return len(self.columns["valid_in"])

    @property
    def operations(self) -> int:
        """Operations among them."""
        return int(self.columns["valid_in"].sum())

    @property
    def checked(self) -> int:
        """Rows whose outputs are compared."""
        return int(self.columns["valid_out"].sum())

    def lines(self) -> Iterator[str]:
        """The rows as text, each with its line end, many at a time."""
        fields = row_fields(self.design)
        form = FIELD_SEPARATOR.join(f"%0{field.digits}x" for field in fields) + "\n"
        masks = [(1 << field.port.width) - 1 for field in fields]
        for first in range(0, self.cycles, _LINES_AT_A_TIME):
            part = slice(first, first + _LINES_AT_A_TIME)
            columns = [
                [value & mask for value in self.columns[field.port.name][part].tolist()]
                for field, mask in zip(fields, masks, strict=True)
            ]
            yield "".join([form % row for row in zip(*columns, strict=True)])
