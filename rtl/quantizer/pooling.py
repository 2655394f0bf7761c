"""Channel means for the adapter: the first step of an adaptive step size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import check_range
from asq_hw.numbers.fixedpoint import shift_right_half_up, signed_width
from asq_hw.numbers.widths import MAX_FEATURE_BITS, MAX_SHIFT, MIN_FEATURE_BITS, MULTIPLIER_BITS
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.lib.arithmetic import round_half_up
from rtl.lib.delay import delay

__all__ = ["MAX_ELEMENTS", "MAX_MULTIPLIER", "PoolingAccumulator"]

MAX_ELEMENTS = 1 << 20
"""Features of the longest channel."""
MAX_MULTIPLIER = (1 << MULTIPLIER_BITS) - 1
_MAX_BITS = 64


@dataclass(frozen=True, kw_only=True)
class PoolingAccumulator(Design):
    """Mean of a channel, ``rshift(multiplier * sum(X), shift)`` (docs/arithmetic.md, section 4).

    An operation is one feature; ``last`` marks a channel's last one, which alone has a result, the
    mean of all since the one before.

    Latency is 3 cycles (sum; product; shift). Throughput is one feature each cycle, without a pause
    between channels.

    Parameters
    ----------
    feature_bits : int
        Width of a feature, signed, 4 to 24.
    elements : int
        Most features of a channel, 1 to 2**20; a channel with more would overflow the sum.
    multiplier : int
        1 to 65535.
    shift : int
        0 to 62.
    """

    feature_bits: int = 16
    elements: int = 64
    multiplier: int = 1 << 10
    shift: int = 16

    def __post_init__(self) -> None:
        check_range("feature bits", self.feature_bits, MIN_FEATURE_BITS, MAX_FEATURE_BITS)
        check_range("elements", self.elements, 1, MAX_ELEMENTS)
        check_range("a pooling multiplier", self.multiplier, 1, MAX_MULTIPLIER)
        check_range("a pooling shift", self.shift, 0, MAX_SHIFT)
        check_range("mean bits", self.mean_bits, 1, _MAX_BITS)

    @property
    def stem(self) -> str:
        """Beginning of its name: ``pooling_x16_n64_m1024_s16``."""
        return f"pooling_x{self.feature_bits}_n{self.elements}_m{self.multiplier}_s{self.shift}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"Mean of up to {self.elements} features of {self.feature_bits} bits"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {
            "feature_bits": self.feature_bits,
            "elements": self.elements,
            "multiplier": self.multiplier,
            "shift": self.shift,
        }

    @property
    def mean_bits(self) -> int:
        """Width that every mean fits."""
        low, high = (
            shift_right_half_up(self.multiplier * self.elements * end, self.shift)
            for end in (-(1 << (self.feature_bits - 1)), (1 << (self.feature_bits - 1)) - 1)
        )
        return signed_width(low, high)

    @property
    def sum_bits(self) -> int:
        """Width that every sum fits."""
        return signed_width(-self.elements << (self.feature_bits - 1), 0)

    @property
    def product_bits(self) -> int:
        """Width that every sum times the multiplier fits."""
        low = -self.elements * self.multiplier << (self.feature_bits - 1)
        return signed_width(low, 0)

    @property
    def ports(self) -> tuple[Port, ...]:
        """``feature`` and ``last`` in, ``mean`` out."""
        return (
            VALID_IN,
            Port(
                name="last", width=1, direction=Direction.IN, meaning="the channel's last feature"
            ),
            Port(
                name="feature",
                width=self.feature_bits,
                signed=True,
                direction=Direction.IN,
                meaning="feature X",
            ),
            VALID_OUT,
            Port(
                name="mean",
                width=self.mean_bits,
                signed=True,
                direction=Direction.OUT,
                meaning="mean p of the channel",
            ),
        )

    @property
    def latency_cyc(self) -> int:
        """Sum, product, shift."""
        return 3

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Pooling(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The contract's formula at each channel's last feature; sums elsewhere mean nothing."""
        total, means = 0, []
        for last, feature in zip(inputs["last"].tolist(), inputs["feature"].tolist(), strict=True):
            total += feature
            means.append(shift_right_half_up(self.multiplier * total, self.shift) if last else 0)
            total = 0 if last else total
        return {"mean": np.array(means, dtype=np.int64)}

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Only a channel's last feature has a mean."""
        return np.equal(inputs["last"], 1)

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Whole channels: of all lengths, of random values, and of one extreme value throughout."""
        lengths = random.integers(1, self.elements + 1, operations)
        lengths = np.where(random.random(operations) < 0.25, self.elements, lengths)
        last = np.zeros(operations, dtype=np.int64)
        ends = np.cumsum(lengths) - 1
        last[ends[ends < operations]] = 1
        channel = np.cumsum(last) - last
        feature = self.inputs[1].random_values(random, operations)
        low, high = self.inputs[1].range
        extreme = random.choice([low, high], operations)[channel]
        return {
            "last": last,
            "feature": np.where(random.random(operations)[channel] < 0.25, extreme, feature),
        }


class _Pooling(wiring.Component):
    """The circuit of `PoolingAccumulator`."""

    def __init__(self, design: PoolingAccumulator) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """Sum, multiply by the constant, shift."""
        m = Module()
        design = self._design
        total = Signal(signed(design.sum_bits))
        begins = Signal(init=1)
        product = Signal(signed(design.product_bits))
        with m.If(self.valid_in):
            m.d.sync += [
                total.eq(Mux(begins, 0, total) + self.feature),
                begins.eq(self.last),
            ]
        rounded = round_half_up(product, design.shift)
        m.d.sync += [product.eq(total * Const(design.multiplier)), self.mean.eq(rounded)]
        valid = delay(m, self.valid_in & self.last, design.latency_cyc, "valid")
        m.d.comb += self.valid_out.eq(valid)
        return m
