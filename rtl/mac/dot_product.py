"""A dot-product unit: several products each cycle, an adder tree and accumulators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import InputError, check_range
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.lib.delay import delay, register
from rtl.mac.codes import Codes
from rtl.mac.design import Mac
from rtl.mac.product import ProductUnit
from rtl.mac.schemes import Accumulation, Clear, Style
from rtl.mac.units import unit_class

__all__ = ["MAX_LANES", "DotProduct", "DotProductComponent"]

MAX_LANES = 256


@dataclass(frozen=True, kw_only=True)
class DotProduct(Design):
    """Sums of products, `lanes` of them in each operation.

    An operation is an activation and a weight for each lane; ``last`` marks the last of a sum,
    which alone has a result: the exact sum of all products since the one before, and with deferred
    signs the `excess` of their weights.

    Parameters
    ----------
    mac : Mac
        Operands, product and accumulator widths; its `Mac.length` bounds the products of a whole
        sum, all lanes together. Sums are apart (``pair``), or there is one; they are ``masked``
        and in one segment.
    lanes : int
        Products in each operation, 1 to 256.

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
        if self.mac.codes is Codes.EXPONENT:
            raise InputError(
                "codes of a dot-product unit must be stored, inverted or sign-magnitude, "
                "not exponent"
            )
        if (self.mac.clear, self.mac.segments) != (Clear.MASKED, 1):
            raise InputError("sums of a dot-product unit must be masked and in one segment")

    @property
    def stem(self) -> str:
        """Beginning of its name: ``dot16_post_split_w4a4_acc24_shift_pair_masked_p1``."""
        return f"dot{self.lanes}_{self.mac.stem}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"Dot-product unit of {self.lanes} lanes. {self.mac.title}"

    @property
    def ports(self) -> tuple[Port, ...]:
        """``activation0``, ``weight0``, ..., perhaps ``second0``, and ``last`` in; the sums out."""
        ports = {port.name: port for port in self.mac.inputs}
        lanes = [
            replace(
                ports[name], name=f"{name}{lane}", meaning=f"{ports[name].meaning}, lane {lane}"
            )
            for lane in range(self.lanes)
            for name in (*self.mac.operands, "weight")
        ]
        last = Port(
            name="last", width=1, direction=Direction.IN, meaning="these products end a sum"
        )
        return (VALID_IN, *lanes, last, VALID_OUT, *self.mac.accumulators)

    @property
    def tree_levels(self) -> int:
        """Adders between a product and the accumulator."""
        return (self.lanes - 1).bit_length()

    @property
    def latency_cyc(self) -> int:
        """Cycles from the last operands to their sum: products, terms, tree, accumulator."""
        return unit_class(self.mac).latency_of(self.mac) + 1 + self.tree_levels + 1

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {"lanes": self.lanes, **self.mac.parameters}

    @property
    def excess_by_code(self) -> dict[str, dict[int, int]]:
        """Those of a lane."""
        return self.mac.excess_by_code

    def component(self) -> DotProductComponent:
        """The circuit."""
        return DotProductComponent(self)

    def excess(self, weights: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """What weights make each sum too large by: int64 (...) by output port.

        Parameters
        ----------
        weights : int64 (..., K)
            Codes of all weights of a sum, those included that fill its last operation up.
        """
        table = np.zeros((1 << self.mac.weight_grid.stored_bits, len(self.outputs)), dtype=np.int64)
        for code, excess in self.mac.excess.items():
            table[code] = excess
        sums = table[weights].sum(axis=-2)
        return {port.name: sums[..., i] for i, port in enumerate(self.outputs)}

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Sums leave with their last products."""
        return np.not_equal(inputs["last"], 0)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The sums, from the products of all lanes one after the other."""
        operations = len(inputs["last"])
        rows = {
            name: np.stack([inputs[f"{name}{lane}"] for lane in range(self.lanes)], axis=1)
            for name in (*self.mac.operands, "weight")
        }
        start = np.zeros((operations, self.lanes), dtype=np.int64)
        start[:1, 0] = 1
        start[1:, 0] = inputs["last"][:-1]
        running = self.mac.reference(
            {"start": start.reshape(-1)} | {key: value.reshape(-1) for key, value in rows.items()}
        )
        return {name: sums[self.lanes - 1 :: self.lanes] for name, sums in running.items()}

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Sums of one operation, one long sum, then sums of about 16 operations."""
        rows = super().stimulus(random, operations)
        alone, short = operations // 2, operations // 4
        last = np.zeros(operations, dtype=np.int64)
        last[:alone] = 1
        last[operations - short :] = random.random(short) < 1 / 16
        last[-1:] = 1
        return rows | {"last": last}


class DotProductComponent(wiring.Component):
    """The circuit of a dot-product unit.

    Ports are those of `DotProduct.ports`. It takes an operation in any cycle; latency is
    `DotProduct.latency_cyc`, throughput one operation each cycle, new sums included.
    """

    def __init__(self, design: DotProduct) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """Products, tree and accumulators, and beside them the bit that ends a sum.

        Without an operation every term is 0, so that sums may take what comes in any cycle, and
        each begins in the cycle behind the result of the one before.
        """
        m = Module()
        cycles = self._design.latency_cyc - 1
        last = delay(m, self.valid_in & self.last, cycles, "last", first=0)
        m.d.sync += self.valid_out.eq(last)
        for name, terms in self._terms(m).items():
            total = self._tree(m, terms, name)
            output = getattr(self, name)
            kept = Mux(self.valid_out, 0, output).as_signed()
            m.d.sync += output.eq(_sum(m, (kept, total.value), total.carry, len(output), name))
        return m

    def _terms(self, m: Module) -> dict[str, list[_Term]]:
        """What each lane adds to each accumulator."""
        mac = self._design.mac
        terms: dict[str, list[_Term]] = {port.name: [] for port in mac.accumulators}
        for lane in range(self._design.lanes):
            m.submodules[f"lane{lane}"] = unit = unit_class(mac)(mac, resets=True)
            m.d.comb += [
                unit.valid.eq(self.valid_in),
                *(
                    getattr(unit, name).eq(getattr(self, f"{name}{lane}"))
                    for name in (*mac.operands, "weight")
                ),
            ]
            for name, mine in terms.items():
                value = Signal(unit.value.shape(), name=f"{name}_lane{lane}")
                carry = Signal(name=f"{name}_carry{lane}")
                m.d.sync += [value.eq(_added(unit)), carry.eq(unit.negative)]
                if mac.has_pair:
                    with m.If(unit.odd != (name == "odd")):
                        m.d.sync += [value.eq(0), carry.eq(0)]
                has_carry = unit.inverts or unit.subtracts
                mine.append(_Term(value=value, carry=carry if has_carry else None))
        return terms

    def _tree(self, m: Module, terms: list[_Term], name: str) -> _Term:
        """Sum of the terms: a register behind each adder.

        Each adder takes one of its operands' two carries and hands the other on.
        """
        for level in range(self._design.tree_levels):
            above: list[_Term] = []
            for i in range(0, len(terms), 2):
                group = terms[i : i + 2]
                # A term without its carry is up to 1 smaller than the sum that it stands for.
                width = max(len(term.value) for term in group) + len(group) - 1
                values = tuple(term.value for term in group)
                taken = group[0].carry if len(group) == 2 else None
                label = f"{name}_level{level}_{i // 2}"
                added = _sum(m, values, taken, width, label)
                if values[0].shape().signed:
                    added = added.as_signed()
                carry = group[-1].carry
                above.append(
                    _Term(
                        value=register(m, added, label),
                        carry=None if carry is None else register(m, carry, f"{label}_carry"),
                    )
                )
            terms = above
        return terms[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """A number, signed unless signs are deferred, and a bit that is still to be added to it."""

    value: Value
    carry: Value | None


def _added(unit: ProductUnit) -> Value:
    """A lane's product, but for its carry."""
    if not unit.subtracts:
        return unit.value
    return unit.value ^ unit.negative.replicate(len(unit.value))


def _sum(m: Module, values: tuple[Value, ...], carry: Value | None, width: int, name: str) -> Value:
    """The sum's low `width` bits."""
    total = Signal(width, name=f"{name}_total")
    added = reduce(add, values)
    m.d.comb += total.eq(added if carry is None else added + carry)
    return total
