"""The program's tables while they grow, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.validation import IntArray
from asq_hw.sim.instruction_sets import LANES
from asq_hw.sim.lowering.memory_plan import aligned
from asq_hw.sim.lowering.packing import WEIGHT_TYPES
from asq_hw.sim.lowering.weight_layout import Offsets
from asq_hw.sim.plain_records import (
    AddRecord,
    AveragePoolRecord,
    FlattenRecord,
    InputRecord,
    LookupRecord,
    MaxPoolRecord,
    PlaceRecord,
    ProductRecord,
    ReluRecord,
    SelectRecord,
)
from asq_hw.sim.program import ComputeType, Kind, Program, Table
from asq_hw.sim.records import ConvolutionRecord, StageRecord, StepRecord, table_type

__all__ = ["LayerRecord", "Tables"]

LayerRecord = (
    InputRecord
    | ConvolutionRecord
    | AddRecord
    | ProductRecord
    | PlaceRecord
    | SelectRecord
    | ReluRecord
    | LookupRecord
    | FlattenRecord
    | MaxPoolRecord
    | AveragePoolRecord
)
_KINDS: dict[type[LayerRecord], Kind] = {
    InputRecord: Kind.INPUT,
    ConvolutionRecord: Kind.CONVOLUTION,
    AddRecord: Kind.ADD,
    PlaceRecord: Kind.PLACE,
    SelectRecord: Kind.SELECT,
    ProductRecord: Kind.PRODUCT,
    LookupRecord: Kind.LOOKUP,
    ReluRecord: Kind.RELU,
    FlattenRecord: Kind.FLATTEN,
    MaxPoolRecord: Kind.MAX_POOL,
    AveragePoolRecord: Kind.AVERAGE_POOL,
}


@dataclass(slots=True)
class Tables:
    """The program's tables while they grow."""

    steps: list[StepRecord] = field(default_factory=list)
    records: dict[type[LayerRecord], list[LayerRecord]] = field(
        default_factory=lambda: {record: [] for record in _KINDS}
    )
    stages: list[StageRecord] = field(default_factory=list)
    constants: list[IntArray] = field(default_factory=list)
    constant_count: int = 0
    offsets: Offsets = field(default_factory=Offsets)
    offsets_at: dict[int, int] = field(default_factory=dict)
    """Where lists of offsets stand among the constants, by the identity of what `offsets` holds."""
    corrections: list[IntArray] = field(default_factory=list)
    biases: list[IntArray] = field(default_factory=list)
    adapters: list[IntArray] = field(default_factory=list)
    weights: dict[ComputeType, list[NDArray[np.signedinteger]]] = field(
        default_factory=lambda: {kind: [] for kind in ComputeType}
    )

    def add_step(self, layer: int, record: LayerRecord) -> None:
        """Add what one step of the program does; `layer` is the layer's number."""
        rows = self.records[type(record)]
        self.steps.append(StepRecord(kind=_KINDS[type(record)], row=len(rows), layer=layer))
        rows.append(record)

    def add_constants(self, values: IntArray) -> int:
        """Where the values stand among the constants."""
        at = self.constant_count
        self.constants.append(values.reshape(-1))
        self.constant_count += values.size
        return at

    def add_offsets(self, values: IntArray) -> int:
        """The same, for a list out of `offsets`: once for all layers of its geometry."""
        if id(values) not in self.offsets_at:
            self.offsets_at[id(values)] = self.add_constants(values)
        return self.offsets_at[id(values)]

    def add_corrections(self, values: IntArray) -> int:
        """Where the values stand among the corrections."""
        at = sum(array.size for array in self.corrections)
        self.corrections.append(values.reshape(-1))
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

    def add_weights(self, kind: ComputeType, values: NDArray[np.signedinteger]) -> int:
        """Where the values stand among the packed weights of one compute type."""
        at = sum(array.size for array in self.weights[kind])
        self.weights[kind].append(values.reshape(-1).astype(WEIGHT_TYPES[kind], copy=False))
        return at

    def program(self) -> Program:
        """The program, when every layer has been added."""
        corrections = _joined(self.corrections)
        return Program(
            steps=_table(StepRecord, self.steps),
            inputs=_table(InputRecord, self.records[InputRecord]),
            convolutions=_table(ConvolutionRecord, self.records[ConvolutionRecord]),
            adds=_table(AddRecord, self.records[AddRecord]),
            places=_table(PlaceRecord, self.records[PlaceRecord]),
            selects=_table(SelectRecord, self.records[SelectRecord]),
            products=_table(ProductRecord, self.records[ProductRecord]),
            lookups=_table(LookupRecord, self.records[LookupRecord]),
            relus=_table(ReluRecord, self.records[ReluRecord]),
            flattens=_table(FlattenRecord, self.records[FlattenRecord]),
            max_pools=_table(MaxPoolRecord, self.records[MaxPoolRecord]),
            average_pools=_table(AveragePoolRecord, self.records[AveragePoolRecord]),
            stages=_table(StageRecord, self.stages),
            constants=_joined(self.constants),
            corrections=corrections.astype(np.int32),
            corrections16=corrections.astype(np.int16),
            adapters=_joined([*self.adapters, np.zeros(LANES, dtype=np.int64)]).astype(np.int8),
            biases=_joined(self.biases).astype(np.int32),
            weights8=self._packed(ComputeType.INT8),
            weights32=self._packed(ComputeType.INT32),
            weights64=self._packed(ComputeType.INT64),
        )

    def _packed(self, kind: ComputeType) -> NDArray[np.signedinteger]:
        values = aligned(sum(array.size for array in self.weights[kind]), WEIGHT_TYPES[kind])
        if values.size:
            values[:] = np.concatenate(self.weights[kind])
        return values


def _table(kind: type[tuple[object, ...]], rows: Sequence[tuple[object, ...]]) -> Table:
    return np.array(list(rows), dtype=table_type(kind))


def _joined(arrays: list[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])
