"""A small multiply-accumulate unit that the tests drive emission and verification with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.numbers.fixedpoint import wrap
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import Product
from asq_hw.numbers.schemes import UNIFORM
from rtl.design import VALID_IN, VALID_OUT, Direction, MacDesign, Parameter, Port, Rows


@dataclass(frozen=True, kw_only=True)
class PlainMac(MacDesign):
    """``accumulator (+)= activation * weight`` in two cycles; `broken` drops a sum's start."""

    weight_bits: int = 3
    activation_bits: int = 3
    accumulator_bits: int = 12
    stem: str = "plain_mac"
    title: str = "plain multiply-accumulate unit"
    broken: bool = False

    latency_cyc: int = 2

    @property
    def weight_grid(self) -> Grid:
        return Grid(scheme=UNIFORM, bits=self.weight_bits)

    @property
    def activation_grid(self) -> Grid:
        return Grid(scheme=UNIFORM, bits=self.activation_bits, signed=False)

    @property
    def product(self) -> Product:
        return Product()

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"weight_bits": self.weight_bits, "activation_bits": self.activation_bits}

    @property
    def ports(self) -> tuple[Port, ...]:
        return (
            VALID_IN,
            Port(name="start", width=1, direction=Direction.IN, meaning="begins a new sum"),
            Port(
                name="activation",
                width=self.activation_bits,
                direction=Direction.IN,
                meaning="activation",
            ),
            Port(
                name="weight", width=self.weight_bits, direction=Direction.IN, meaning="weight code"
            ),
            VALID_OUT,
            Port(
                name="accumulator",
                width=self.accumulator_bits,
                signed=True,
                direction=Direction.OUT,
                meaning="the sum",
            ),
        )

    def component(self) -> wiring.Component:
        return _PlainMac(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        total, sums = 0, []
        rows = zip(
            *(inputs[key].tolist() for key in ("start", "activation", "weight")), strict=True
        )
        for start, activation, weight in rows:
            total = activation * wrap(weight, self.weight_bits) + (0 if start else total)
            sums.append(wrap(total, self.accumulator_bits))
        return {"accumulator": np.array(sums, dtype=np.int64)}


class _PlainMac(wiring.Component):
    def __init__(self, design: PlainMac) -> None:
        self.design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = Signal(signed(self.design.weight_bits + self.design.activation_bits))
        start, valid = Signal(), Signal()
        m.d.sync += [
            product.eq(self.activation * self.weight.as_signed()),
            start.eq(self.start),
            valid.eq(self.valid_in),
            self.valid_out.eq(valid),
        ]
        with m.If(valid):
            kept = self.accumulator if self.design.broken else Mux(start, 0, self.accumulator)
            m.d.sync += self.accumulator.eq(kept + product)
        return m
