"""A dot-product unit with streams at both ends."""

from __future__ import annotations

from amaranth.hdl import EnableInserter, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.mac.dot_product import DotProduct, DotProductComponent

__all__ = ["DotProductStream"]


class DotProductStream(wiring.Component):
    """Dot products of streamed operands.

    Ports
    -----
    operands : in, stream of ``activation`` and ``weight`` (an array over the lanes each), ``last``
        ``last`` ends a sum; the next transfer begins a new one.
    sums : out, stream of the accumulators, by their names
        One transfer for each ``last``.

    Latency is `DotProduct.latency_cyc`; throughput is one transfer each cycle, so long as ``sums``
    is ready. While a sum waits to be taken everything stands still.
    """

    def __init__(self, design: DotProduct) -> None:
        self._design = design
        ports = {port.name: port for port in design.mac.ports}
        operands = {
            name: data.ArrayLayout(ports[name].shape, design.lanes)
            for name in ("activation", "weight")
        }
        sums = {port.name: port.shape for port in design.mac.accumulators}
        super().__init__(
            {
                "operands": In(stream.Signature(data.StructLayout({**operands, "last": 1}))),
                "sums": Out(stream.Signature(data.StructLayout(sums))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Put the unit between the streams."""
        m = Module()
        unit = DotProductComponent(self._design)
        moves = Signal()
        m.submodules.unit = EnableInserter(moves)(unit)
        m.d.comb += [
            moves.eq(self.sums.ready | ~self.sums.valid),
            self.operands.ready.eq(moves),
            unit.valid_in.eq(self.operands.valid),
            unit.last.eq(self.operands.payload.last),
            self.sums.valid.eq(unit.valid_out),
        ]
        for name in ("activation", "weight"):
            values = self.operands.payload[name]
            for lane in range(self._design.lanes):
                m.d.comb += getattr(unit, f"{name}{lane}").eq(values[lane])
        for port in self._design.mac.accumulators:
            m.d.comb += self.sums.payload[port.name].eq(getattr(unit, port.name))
        return m
