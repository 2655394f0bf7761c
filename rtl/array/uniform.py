"""Lanes of uniform weights: rows that a weight's bits reset, summed by bit or by lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from amaranth.hdl import Value

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM
from rtl.array.addends import Addend, Pipe, shifted_sum, sum_of
from rtl.array.lanes import WEIGHT_BITS, LaneOperands, Lanes, full, one_sum, register
from rtl.mac.codes import Codes, port_codes

__all__ = ["Arrangement", "MagnitudeLanes", "TwosComplementLanes"]


class Arrangement(StrEnum):
    """In which order rows are summed."""

    PLANES = "planes"
    """First the rows of one bit of all weights; then the bits' sums, each shifted by its place."""
    PRODUCTS = "products"
    """First the rows of one weight, which makes a product; then the products."""


class _Rows(Lanes):
    """Lanes whose rows are the activation, or 0 where a bit of the weight is 1."""

    codes: Codes

    def __init__(self, arrangement: Arrangement) -> None:
        self._arrangement = arrangement

    def weights(self) -> Mapping[int, tuple[int, int]]:
        """The grid's integers."""
        grid = Grid(scheme=UNIFORM, bits=WEIGHT_BITS)
        table = grid.decode_table()
        return {code: table[stored] for code, stored in port_codes(self.codes, grid).items()}

    def _summed(
        self, pipe: Pipe, rows: Sequence[Sequence[Addend]], signs: Sequence[Value | None]
    ) -> Mapping[str, Addend]:
        """Rows by lane, from the lowest bit up; a lane whose sign is given is inverted by it."""
        if self._arrangement is Arrangement.PLANES:
            planes = []
            for place in range(len(rows[0])):
                plane = [
                    _with_sign(lane[place], sign) for lane, sign in zip(rows, signs, strict=True)
                ]
                planes.append(sum_of(pipe, plane, f"plane{place}"))
            return {"sum": _joined(pipe, planes, "planes")}
        products = []
        for index, (lane, sign) in enumerate(zip(rows, signs, strict=True)):
            product = _joined(pipe, lane, f"product{index}")
            late = product.at - lane[0].at
            inverts = None if sign is None else pipe.delay(sign, late, f"product{index}_sign")
            products.append(_with_sign(product, inverts))
        return one_sum(pipe, products)


class MagnitudeLanes(_Rows):
    """15 levels: a sign above the inverted bits of the magnitude.

    Where sums are made of cells the adders invert, rows that are 0 included; otherwise the
    activation is inverted before it becomes rows.
    """

    codes = Codes.SIGN_MAGNITUDE

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: the inverse of each row, or of the product."""
        value = self.weights()[code][0]
        if value >= 0:
            return (0,)
        if not on_cells:
            return (full(bits) * -value,)
        most = full(bits) * full(WEIGHT_BITS - 1)
        is_product = self._arrangement is Arrangement.PRODUCTS
        return (full(most.bit_length()) if is_product else most,)

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Rows of the magnitudes' bits."""
        rows: list[list[Addend]] = []
        signs: list[Value | None] = []
        for index, lane in enumerate(lanes):
            (word,), sign = lane.words, lane.weight[-1]
            if pipe.cells is None:
                word, late = word ^ sign.replicate(bits), None
            else:
                late = pipe.later(sign, f"sign{index}")
            rows.append(
                [
                    Addend(
                        value=pipe.later(word, f"row{index}_{place}", clear=bit),
                        largest=full(bits),
                        at=1,
                    )
                    for place, bit in enumerate(lane.weight[:-1])
                ]
            )
            signs.append(late)
        return self._summed(pipe, rows, signs)


class TwosComplementLanes(_Rows):
    """16 levels: two's complement, every bit inverted.

    The activation's inverse is made once for all channels: it is the sign bit's row.
    """

    codes = Codes.INVERTED

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: the sign bit's row is short of all ones."""
        return (full(bits) << (WEIGHT_BITS - 1) if self.weights()[code][0] < 0 else 0,)

    def shared(self, pipe: Pipe, activation: Value, second: Value, name: str) -> Sequence[Value]:
        """The activation and its inverse.

        Parameters are those of `Lanes.shared`.
        """
        return [register(pipe, activation, name), register(pipe, ~activation, f"{name}_inverse")]

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Rows of all bits."""
        rows = [
            [
                Addend(
                    value=pipe.later(
                        lane.words[place == WEIGHT_BITS - 1], f"row{index}_{place}", clear=bit
                    ),
                    largest=full(bits),
                    at=1,
                )
                for place, bit in enumerate(lane.weight)
            ]
            for index, lane in enumerate(lanes)
        ]
        return self._summed(pipe, rows, [None] * len(lanes))


def _with_sign(addend: Addend, sign: Value | None) -> Addend:
    """The addend with its inversion left to an adder, which makes it up to all ones."""
    if sign is None:
        return addend
    return Addend(value=addend.value, largest=full(addend.width), at=addend.at, inverts=sign)


def _joined(pipe: Pipe, words: Sequence[Addend], name: str) -> Addend:
    """The sum of words that each count twice as much as the one before: neighbors first."""
    level = 0
    while len(words) > 1:
        joined = [
            shifted_sum(pipe, words[i], words[i + 1], 1 << level, f"{name}_level{level}_{i}")
            if i + 1 < len(words)
            else pipe.wait(words[i], words[i].at + 1, f"{name}_level{level}_{i}")
            for i in range(0, len(words), 2)
        ]
        words, level = joined, level + 1
    return words[0]
