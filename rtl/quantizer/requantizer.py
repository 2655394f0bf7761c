"""What follows a dot product: join its two parts, scale it, and saturate it to a feature."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import check_range
from asq_hw.network.bounds import Range
from asq_hw.numbers.fixedpoint import (
    SQRT2_FRACTION_BITS,
    SQRT2_MULTIPLIER,
    integer_range,
    saturate,
    shift_right_half_up,
    sqrt2_times_pair,
)
from asq_hw.numbers.products import SPLIT_FRACTION_BITS
from asq_hw.numbers.widths import BIAS_BITS, MAX_FEATURE_BITS, MAX_SHIFT, MIN_FEATURE_BITS
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.lib import arithmetic
from rtl.lib.delay import delay

__all__ = ["MAX_MULTIPLIER_BITS", "MAX_VALUE_BITS", "Requantizer"]

MAX_VALUE_BITS = 40
"""Width of the widest dot product."""
MAX_MULTIPLIER_BITS = 32
"""Width of the widest multiplier."""


@dataclass(frozen=True, kw_only=True)
class Requantizer(Design):
    """Dot product to feature, ``sat(rshift(V * m, shift) + B, bits)``.

    With `pair`, V is first made of an even and an odd sum, ``2**4 * E + rshift(O * R2, 11)``: the
    square root of two is multiplied by once for each output. `shift` is the layer's R + F; all
    roundings are half up (docs/arithmetic.md, section 5).

    Latency is 3 cycles (product; shift and bias; saturation), 5 with `pair`. Throughput is one
    output each cycle.

    Parameters
    ----------
    value_bits : int
        Width of V, or of each of E and O, 2 to 40, signed.
    multiplier_bits : int
        Width of m, 2 to 32, signed.
    shift : int
        0 to 62.
    bits : int
        Width of the feature, 4 to 24, signed.
    pair : bool
        Whether even and odd sums come apart.
    """

    value_bits: int = 24
    multiplier_bits: int = 16
    shift: int = 20
    bits: int = 16
    pair: bool = False

    def __post_init__(self) -> None:
        check_range("value bits", self.value_bits, 2, MAX_VALUE_BITS)
        check_range("multiplier bits", self.multiplier_bits, 2, MAX_MULTIPLIER_BITS)
        check_range("shift", self.shift, 0, MAX_SHIFT)
        check_range("feature bits", self.bits, MIN_FEATURE_BITS, MAX_FEATURE_BITS)

    @property
    def stem(self) -> str:
        """Beginning of its name: ``requantizer_v24_m16_s20_x16``."""
        kind = "_pair" if self.pair else ""
        widths = f"v{self.value_bits}_m{self.multiplier_bits}_s{self.shift}_x{self.bits}"
        return f"requantizer{kind}_{widths}"

    @property
    def title(self) -> str:
        """One line for people."""
        what = "even and odd sums" if self.pair else "dot products"
        return f"Requantizer of {what} to {self.bits}-bit features"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {
            "value_bits": self.value_bits,
            "multiplier_bits": self.multiplier_bits,
            "shift": self.shift,
            "bits": self.bits,
            "pair": self.pair,
        }

    @property
    def ports(self) -> tuple[Port, ...]:
        """``value``, or ``even`` and ``odd``; ``multiplier`` and ``bias`` in; ``feature`` out."""
        values = {"even": "sum E", "odd": "sum O"} if self.pair else {"value": "dot product V"}
        inputs = {
            **{name: (self.value_bits, meaning) for name, meaning in values.items()},
            "multiplier": (self.multiplier_bits, "multiplier m of sample and channel"),
            "bias": (BIAS_BITS, "bias B of the channel"),
        }
        return (
            VALID_IN,
            *(
                Port(name=name, width=width, signed=True, direction=Direction.IN, meaning=meaning)
                for name, (width, meaning) in inputs.items()
            ),
            VALID_OUT,
            Port(
                name="feature",
                width=self.bits,
                signed=True,
                direction=Direction.OUT,
                meaning="feature Y",
            ),
        )

    @property
    def root(self) -> Range:
        """Every odd sum times the square root of two, before it is rounded."""
        low, high = integer_range(self.value_bits)
        return Range(low=low * SQRT2_MULTIPLIER, high=high * SQRT2_MULTIPLIER)

    @property
    def joined(self) -> Range:
        """Every V: the value itself, or an even and an odd sum joined."""
        low, high = integer_range(self.value_bits)
        if not self.pair:
            return Range(low=low, high=high)
        return Range(
            low=sqrt2_times_pair(low, low, SPLIT_FRACTION_BITS),
            high=sqrt2_times_pair(high, high, SPLIT_FRACTION_BITS),
        )

    @property
    def products(self) -> Range:
        """Every ``V * m``."""
        values, ends = self.joined, integer_range(self.multiplier_bits)
        made = [value * end for value in (values.low, values.high) for end in ends]
        return Range(low=min(made), high=max(made))

    @property
    def totals(self) -> Range:
        """Every feature before it is saturated."""
        low, high = integer_range(BIAS_BITS)
        return Range(
            low=shift_right_half_up(self.products.low, self.shift) + low,
            high=shift_right_half_up(self.products.high, self.shift) + high,
        )

    @property
    def latency_cyc(self) -> int:
        """Two more cycles where E and O are joined."""
        return 5 if self.pair else 3

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Requantizer(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The contract's formula on unbounded integers."""
        names = ("even", "odd") if self.pair else ("value",)
        columns = [inputs[name].tolist() for name in (*names, "multiplier", "bias")]
        features = []
        for *values, multiplier, bias in zip(*columns, strict=True):
            value = values[0]
            if self.pair:
                value = sqrt2_times_pair(values[0], values[1], SPLIT_FRACTION_BITS)
            scaled = shift_right_half_up(value * multiplier, self.shift)
            features.append(saturate(scaled + bias, self.bits))
        return {"feature": np.array(features, dtype=np.int64)}

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Edges, and biases that bring many outputs to the feature's range and its ends."""
        rows = super().stimulus(random, operations)
        # Every combination of ends first: they are what widths are made for.
        ends = [(*port.range, 0) if port.name == "bias" else port.range for port in self.inputs]
        corners = np.array(list(product(*ends)), dtype=np.int64)
        count = min(len(corners), operations // 2)
        for port, column in zip(self.inputs, corners[:count].T, strict=True):
            rows[port.name][:count] = column
        if self.pair:
            pairs = zip(rows["even"].tolist(), rows["odd"].tolist(), strict=True)
            values = [sqrt2_times_pair(even, odd, SPLIT_FRACTION_BITS) for even, odd in pairs]
        else:
            values = rows["value"].tolist()
        scaled = np.array(values, dtype=object) * rows["multiplier"]
        wanted = random.integers(-(1 << self.bits), 1 << self.bits, operations)
        limits = np.array(integer_range(self.bits))
        wanted = np.where(
            random.random(operations) < 0.5,
            wanted,
            random.choice(limits, operations) + random.integers(-2, 3, operations),
        )
        bias = wanted - (scaled >> self.shift)
        low, high = -(1 << (BIAS_BITS - 1)), (1 << (BIAS_BITS - 1)) - 1
        fits = np.array([low <= value <= high for value in bias], dtype=np.bool_)
        near = np.where(fits, bias, 0).astype(np.int64)
        chosen = fits & (random.random(operations) < 0.75)
        chosen[:count] = False
        return rows | {"bias": np.where(chosen, near, rows["bias"])}


class _Requantizer(wiring.Component):
    """The circuit of `Requantizer`."""

    def __init__(self, design: Requantizer) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """A register behind each step."""
        m = Module()
        design = self._design
        value, multiplier, bias = self._joined(m) if design.pair else self._plain()
        valid = delay(m, self.valid_in, design.latency_cyc, "valid")
        scaled = Signal(signed(design.products.bits), name="product")
        bias_1 = Signal.like(self.bias)
        m.d.sync += [scaled.eq(value * multiplier), bias_1.eq(bias)]
        total = Signal(signed(design.totals.bits))
        m.d.sync += total.eq(arithmetic.round_half_up(scaled, design.shift) + bias_1)
        m.d.sync += self.feature.eq(arithmetic.saturate(total, design.bits))
        m.d.comb += self.valid_out.eq(valid)
        return m

    def _plain(self) -> tuple[Value, Value, Value]:
        return self.value, self.multiplier, self.bias

    def _joined(self, m: Module) -> tuple[Value, Value, Value]:
        """``2**4 * E + rshift(O * R2, 15 - 4)`` in two cycles, the rest delayed beside it."""
        drop = SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS
        root = Signal(signed(self._design.root.bits))
        even = Signal.like(self.even, name="even_1")
        joined = Signal(signed(self._design.joined.bits))
        m.d.sync += [
            root.eq(self.odd * Const(SQRT2_MULTIPLIER)),
            even.eq(self.even),
            joined.eq((even << SPLIT_FRACTION_BITS) + arithmetic.round_half_up(root, drop)),
        ]
        multiplier = delay(m, self.multiplier, 2, "multiplier_early")
        bias = delay(m, self.bias, 2, "bias_early")
        return joined, multiplier, bias
