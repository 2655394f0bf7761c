"""Lanes whose weights are sums of shifts, or select entries of a rounded table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value
from numpy.typing import NDArray

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import APOT, POST
from rtl.array.addends import Addend, Pipe
from rtl.array.lanes import WEIGHT_BITS, LaneOperands, Lanes, full, negative, one_sum, register

__all__ = ["ApotLanes", "TableLanes"]


class _Stored(Lanes):
    """Codes as a model file holds them."""

    grid: Grid

    def weights(self) -> Mapping[int, tuple[int, int]]:
        """The grid's integers."""
        return self.grid.decode_table()


class ApotLanes(_Stored):
    """Sums of two powers: 2 or nothing, and 8, 4, 1 or nothing."""

    grid = Grid(scheme=APOT, bits=WEIGHT_BITS)

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: the inverse of the product, or the weight times all ones."""
        if not negative(code):
            return (0,)
        weight = -self.weights()[code][0]
        return (full(self._width(bits)) if on_cells else full(bits) * weight,)

    def _width(self, bits: int) -> int:
        most = max(even for even, _ in self.weights().values())
        return (full(bits) * most).bit_length()

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Copies of the activation that the weight clears, joined and added."""
        most = max(even for even, _ in self.weights().values())
        return one_sum(
            pipe, [self._lane(pipe, lane, bits, most, f"lane{i}") for i, lane in enumerate(lanes)]
        )

    def _lane(self, pipe: Pipe, lane: LaneOperands, bits: int, most: int, name: str) -> Addend:
        (word,), weight = lane.words, lane.weight
        sign, field = weight[-1], weight[1:-1]
        inverts = None
        if pipe.cells is None:
            word = word ^ sign.replicate(bits)
        else:
            inverts = pipe.later(pipe.later(sign, f"{name}_sign"), f"{name}_inverts")
        doubled = pipe.later(word, f"{name}_by1", clear=~weight[0])
        copies = [
            pipe.later(word, f"{name}_copy{shift}", clear=field != value) << shift
            for value, shift in ((1, 3), (2, 2), (3, 0))
        ]
        joined = copies[0] | copies[1] | copies[2]
        total = Signal(self._width(bits), name=f"{name}_product")
        pipe.m.d.comb += total.eq((joined[1:] + doubled << 1) | joined[0])
        largest = full(len(total)) if inverts is not None else full(bits) * most
        kept = pipe.later(total, f"{name}_kept")
        return Addend(value=kept, largest=largest, at=2, inverts=inverts)


class TableLanes(_Stored):
    """The paper's product: even powers shift, odd ones are rounded entries of a table.

    The entries of an activation are made once for all channels; a weight selects one of them.
    """

    grid = Grid(scheme=POST, bits=WEIGHT_BITS)
    _product = Product(kind=ProductKind.POST_LUT)
    _odd = (1, 2, 4)

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: the inverse of the entry."""
        return (full(bits + 3) if negative(code) else 0,)

    def products(self, bits: int) -> NDArray[np.int64]:
        """Shifts, and rounded entries."""
        dense = super().products(bits)
        for code, (even, odd) in self.weights().items():
            entries = [self._product.lut_entry(each, even, odd) for each in range(1 << bits)]
            dense[:, code, 0] = entries
        return dense

    @property
    def shared_stages(self) -> int:
        """The activation, then its entries."""
        return 2

    def shared(self, pipe: Pipe, activation: Value, second: Value, name: str) -> Sequence[Value]:
        """The activation, and its entries for each odd power.

        Parameters are those of `Lanes.shared`.
        """
        taken = register(pipe, activation, f"{name}_taken")
        bits = len(activation)
        entries = []
        for odd in self._odd:
            made = [self._product.lut_entry(value, 0, odd) for value in range(1 << bits)]
            entry = _looked_up(pipe.m, taken, made, f"{name}_times{odd}")
            entries.append(register(pipe, entry, f"{name}_entry{odd}"))
        return [register(pipe, taken, name), *entries]

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Select by one bit of the power after the other, and invert."""
        addends = []
        for index, lane in enumerate(lanes):
            name = f"lane{index}"
            word, *odd = lane.words
            # The code of a magnitude is one more than its power, and 0 for zero.
            words: list[Value] = [Signal(1, name=f"{name}_zero"), word, *odd[:1], word << 1]
            words += [odd[1], word << 2, odd[2], word << 3]
            weight: Value = lane.weight
            for level in range(WEIGHT_BITS - 1):
                chosen = [
                    Mux(weight[level], words[i + 1], words[i]) for i in range(0, len(words), 2)
                ]
                if len(chosen) == 1:
                    (last,) = chosen
                    padded = Signal(bits + 3, name=f"{name}_entry")
                    pipe.m.d.comb += padded.eq(last)
                    chosen = [padded ^ weight[-1].replicate(bits + 3)]
                words = [
                    pipe.later(each, f"{name}_level{level}_{i}") for i, each in enumerate(chosen)
                ]
                weight = pipe.later(weight, f"{name}_weight{level}")
            largest = full(bits + 3)
            addends.append(Addend(value=words[0], largest=largest, at=WEIGHT_BITS - 1))
        return one_sum(pipe, addends)


def _looked_up(m: Module, address: Value, entries: Sequence[int], name: str) -> Value:
    made = Signal(max(entries).bit_length(), name=name)
    with m.Switch(address):
        for value, entry in enumerate(entries):
            with m.Case(value):
                m.d.comb += made.eq(entry)
    return made
