"""The program's tables while they grow, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.validation import IntArray
from asq_hw.sim import program as program_tables
from asq_hw.sim.instruction_sets import LANES, Kernel
from asq_hw.sim.lowering.memory_plan import aligned
from asq_hw.sim.lowering.packing import LANE_TYPES
from asq_hw.sim.lowering.weight_layout import Places
from asq_hw.sim.program import Kind, Lane, Program

__all__ = ["Tables", "finish"]

_TABLES = {
    "inputs": program_tables.INPUT,
    "convs": program_tables.CONV,
    "elementwise": program_tables.ELEMENTWISE,
    "pools": program_tables.POOL,
    "stages": program_tables.STAGE,
}
"""Record types by the program's fields."""


@dataclass(slots=True)
class Tables:
    """The program's tables while they grow."""

    kernel: Kernel
    ends: dict[str, tuple[int, int]]
    """What the outputs of layers that are computed with a ReLU are clamped to."""
    layer: int = 0
    """Number of the layer that is being added, in the network's order."""
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    rows: dict[str, list[dict[str, int]]] = field(
        default_factory=lambda: {name: [] for name in _TABLES}
    )
    constants: list[IntArray] = field(default_factory=list)
    constant_count: int = 0
    places: Places = field(default_factory=Places)
    places_at: dict[int, int] = field(default_factory=dict)
    """Where lists of places stand among the constants, by the identity of what `places` holds."""
    starts: list[IntArray] = field(default_factory=list)
    biases: list[IntArray] = field(default_factory=list)
    adapters: list[IntArray] = field(default_factory=list)
    weights: dict[Lane, list[NDArray[np.signedinteger]]] = field(
        default_factory=lambda: {lane: [] for lane in Lane}
    )

    def add_step(self, kind: Kind, table: str, **row: int) -> None:
        """Add what one step of the program does."""
        self.steps.append((int(kind), len(self.rows[table]), self.layer))
        self.rows[table].append(row)

    def add_constants(self, values: IntArray) -> int:
        """Where the values stand among the constants."""
        at = self.constant_count
        self.constants.append(values.reshape(-1))
        self.constant_count += values.size
        return at

    def add_places(self, values: IntArray) -> int:
        """The same, for a list out of `places`: once for all layers of its geometry."""
        if id(values) not in self.places_at:
            self.places_at[id(values)] = self.add_constants(values)
        return self.places_at[id(values)]

    def add_starts(self, values: IntArray) -> int:
        """Where the values stand among the sums' starts."""
        at = sum(array.size for array in self.starts)
        self.starts.append(values.reshape(-1))
        return at

    def add_biases(self, values: IntArray) -> int:
        """The same among the biases, where whole vectors may be read."""
        at = sum(array.size for array in self.biases)
        self.biases += [values, np.zeros(LANES, dtype=np.int64)]
        return at

    def add_adapter(self, values: IntArray) -> int:
        """Where the values stand among the adapters' weights."""
        at = sum(array.size for array in self.adapters)
        self.adapters.append(values.reshape(-1))
        return at

    def add_weights(self, lane: Lane, values: NDArray[np.signedinteger]) -> int:
        """Where the values stand among the packed weights of one width."""
        at = sum(array.size for array in self.weights[lane])
        self.weights[lane].append(values.reshape(-1).astype(LANE_TYPES[lane], copy=False))
        return at


def finish(made: Tables) -> Program:
    """The program, when every layer has been added."""

    def table(name: str) -> NDArray[np.void]:
        kind = _TABLES[name]
        rows = [tuple(row.get(key, 0) for key in kind.names or ()) for row in made.rows[name]]
        return np.array(rows, dtype=kind)

    def flat(lane: Lane, kind: type) -> NDArray[np.signedinteger]:
        values = aligned(sum(array.size for array in made.weights[lane]), kind)
        if values.size:
            values[:] = np.concatenate(made.weights[lane])
        return values

    starts = np.concatenate([np.zeros(0, dtype=np.int64), *made.starts])
    return Program(
        steps=np.array(made.steps, dtype=program_tables.STEP),
        **{name: table(name) for name in _TABLES},
        constants=np.concatenate([np.zeros(0, dtype=np.int64), *made.constants]),
        starts=starts.astype(np.int32),
        starts16=starts.astype(np.int16),
        adapters=np.concatenate([*made.adapters, np.zeros(LANES, dtype=np.int64)]).astype(np.int8),
        biases=np.concatenate([np.zeros(0, dtype=np.int64), *made.biases]).astype(np.int32),
        weights8=flat(Lane.INT8, np.int8),
        weights32=flat(Lane.INT32, np.int32),
        weights64=flat(Lane.INT64, np.int64),
    )
