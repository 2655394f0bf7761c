"""A dot-product unit: several products each cycle, an adder tree, and streams at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from asq_hw.checks import check_range
from asq_hw.errors import InputError
from rtl.design import Rows
from rtl.mac.design import Mac
from rtl.mac.product import unit_class
from rtl.mac.schemes import Accumulation, Style

__all__ = ["MAX_LANES", "DotProduct", "DotProductComponent"]

MAX_LANES = 256


@dataclass(frozen=True, kw_only=True)
class DotProduct:
    """Parameters of a dot-product unit.

    Parameters
    ----------
    mac : Mac
        Operands, product and accumulator widths; its `Mac.length` bounds the products of a whole
        sum, all lanes together. Sums are apart (``pair``), or there is one.
    lanes : int
        Products in each cycle, 1 to 256.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """

    mac: Mac
    lanes: int

    def __post_init__(self) -> None:
        check_range("lanes", self.lanes, 1, MAX_LANES)
        if self.lanes > self.mac.length:
            raise InputError(
                f"lanes must be at most {self.mac.length}, the products that "
                f"{self.mac.accumulator_bits} bits hold, not {self.lanes}"
            )
        if self.mac.style is Style.SERIAL:
            raise InputError("style of a dot-product unit must not be serial")
        if self.mac.accumulation is Accumulation.SHARED:
            raise InputError(
                "accumulation of a dot-product unit must be single, pair or ordered, not shared"
            )

    @property
    def operands(self) -> data.StructLayout:
        """Payload of the input stream: an operand pair for each lane, and the end of a sum."""
        ports = {port.name: port for port in self.mac.ports}
        return data.StructLayout(
            {
                "activation": data.ArrayLayout(ports["activation"].shape, self.lanes),
                "weight": data.ArrayLayout(ports["weight"].shape, self.lanes),
                "last": 1,
            }
        )

    @property
    def sums(self) -> data.StructLayout:
        """Payload of the output stream: the sums by the accumulators' names."""
        return data.StructLayout({port.name: port.shape for port in self.mac.accumulators})

    @property
    def tree_levels(self) -> int:
        """Adders between a product and the accumulator."""
        return (self.lanes - 1).bit_length()

    @property
    def latency_cyc(self) -> int:
        """Cycles from the last operands' transfer to the first in which their sum is offered."""
        return unit_class(self.mac).latency_of(self.mac) + 1 + self.tree_levels + 1

    def component(self) -> DotProductComponent:
        """The circuit."""
        return DotProductComponent(self)

    def reference(self, inputs: Rows, last: Sequence[int]) -> dict[str, NDArray[np.int64]]:
        """The sums, in order, of operands of shape (N, lanes) and ``last`` of shape (N,)."""
        ends = np.flatnonzero(np.asarray(last))
        start = np.zeros(inputs["activation"].shape, dtype=np.int64)
        start[[0, *(ends[:-1] + 1)], 0] = 1
        rows = {name: inputs[name].reshape(-1) for name in ("activation", "weight")}
        running = self.mac.reference({**rows, "start": start.reshape(-1)})
        return {name: sums[(ends + 1) * self.lanes - 1] for name, sums in running.items()}


class DotProductComponent(wiring.Component):
    """Dot products of streamed operands.

    Ports
    -----
    operands : in, stream of `DotProduct.operands`
        ``last`` ends a sum; the next transfer begins a new one.
    sums : out, stream of `DotProduct.sums`
        One transfer for each ``last``.

    Latency is `DotProduct.latency_cyc`; throughput is one transfer each cycle, so long as ``sums``
    is ready. While a sum waits to be taken everything stands still.
    """

    def __init__(self, parameters: DotProduct) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "operands": In(stream.Signature(parameters.operands)),
                "sums": Out(stream.Signature(parameters.sums)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Put the pipeline between the streams."""
        m = Module()
        pipeline = _Pipeline(self._parameters)
        moves = Signal()
        m.submodules.pipeline = EnableInserter(moves)(pipeline)
        m.d.comb += [
            moves.eq(self.sums.ready | ~self.sums.valid),
            self.operands.ready.eq(moves),
            pipeline.valid_in.eq(self.operands.valid),
            pipeline.operands.eq(self.operands.payload),
            self.sums.valid.eq(pipeline.valid_out),
            self.sums.payload.eq(pipeline.sums),
        ]
        return m


class _Pipeline(wiring.Component):
    """Products, tree and accumulators, with a valid bit beside them."""

    def __init__(self, parameters: DotProduct) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "valid_in": In(1),
                "operands": In(parameters.operands),
                "valid_out": Out(1),
                "sums": Out(parameters.sums),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        mac = self._parameters.mac
        names = [port.name for port in mac.accumulators]
        terms: dict[str, list[Value]] = {name: [] for name in names}
        for lane in range(self._parameters.lanes):
            unit = unit_class(mac)(mac)
            m.submodules[f"lane{lane}"] = unit
            m.d.comb += [
                unit.valid.eq(self.valid_in),
                unit.activation.eq(self.operands.activation[lane]),
                unit.weight.eq(self.operands.weight[lane]),
            ]
            for name in names:
                is_mine = unit.odd == (name == "odd") if mac.has_pair else None
                product = unit.value + unit.negative
                term = product if is_mine is None else Mux(is_mine, product, 0).as_signed()
                terms[name].append(_registered(m, term, f"{name}_lane{lane}"))
        before = unit_class(mac).latency_of(mac) + 1 + self._parameters.tree_levels
        valid: Value = self.valid_in
        last: Value = self.valid_in & self.operands.last
        for cycle in range(before):
            valid = _registered(m, valid, f"valid{cycle}")
            last = _registered(m, last, f"last{cycle}")
        begins = Signal(init=1)
        with m.If(valid):
            m.d.sync += begins.eq(last)
        m.d.sync += self.valid_out.eq(last)
        for name in names:
            total = self._tree(m, terms[name], name)
            output = self.sums[name]
            kept = Mux(begins & valid, 0, output).as_signed()
            m.d.sync += output.eq(kept + total)
        return m

    def _tree(self, m: Module, terms: list[Value], name: str) -> Value:
        """Sum of the terms: a register behind each adder."""
        for level in range(self._parameters.tree_levels):
            summed = [low + high for low, high in zip(terms[::2], terms[1::2], strict=False)]
            summed += terms[len(terms) & ~1 :]
            terms = [
                _registered(m, term, f"{name}_level{level}_{i}") for i, term in enumerate(summed)
            ]
        return terms[0]


def _registered(m: Module, value: Value, name: str) -> Signal:
    register = Signal(value.shape(), name=name)
    m.d.sync += register.eq(value)
    return register
