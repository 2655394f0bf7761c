"""Lanes whose weights are powers: an activation that is shifted in stages, and perhaps inverted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Const, Mux, Value

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, POT, Scheme
from rtl.array.addends import Addend, Pipe, sum_of
from rtl.array.lanes import (
    PAIR,
    WEIGHT_BITS,
    LaneOperands,
    Lanes,
    full,
    negative,
    one_sum,
    register,
    shift_stage,
)
from rtl.mac.codes import Codes, port_codes

__all__ = ["DualLanes", "OrderedLanes", "PairLanes", "PotLanes"]


class _Powers(Lanes):
    """Codes are a sign above a power, all ones for zero; negative words are inverted first."""

    scheme: Scheme = POST

    def weights(self) -> Mapping[int, tuple[int, int]]:
        """The grid's integers."""
        grid = Grid(scheme=self.scheme, bits=WEIGHT_BITS)
        table = grid.decode_table()
        codes = port_codes(Codes.EXPONENT, grid)
        return {code: table[stored] for code, stored in codes.items()}

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: all ones, shifted as the activation is."""
        if not negative(code):
            return (0,) * len(self.sums)
        return tuple(-weight * full(bits) for weight in self.weights()[code][: len(self.sums)])


class PotLanes(_Powers):
    """Powers of two: a shift by 4, by 2, and by 1, which is the adder's."""

    scheme = POT

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Each lane's word."""
        largest = full(bits) * max(even for even, _ in self.weights().values())
        addends = []
        for index, lane in enumerate(lanes):
            (word,), weight, name = lane.words, lane.weight, f"lane{index}"
            inverted = word ^ weight[-1].replicate(bits)
            taken = pipe.later(inverted, f"{name}_taken", clear=weight[:-1].all())
            by_1, by_2, by_4 = (pipe.later(weight[i], f"{name}_by{1 << i}") for i in range(3))
            not_4 = pipe.later(~weight[2], f"{name}_not4")
            by_4_word = shift_stage(pipe, taken, 4, by_4, not_4, f"{name}_shift4")
            late = [pipe.later(bit, f"{name}_late{i}") for i, bit in enumerate((by_2, ~by_2, by_1))]
            word = shift_stage(pipe, by_4_word, 2, late[0], late[1], f"{name}_shift2")
            doubles = pipe.later(late[2], f"{name}_doubles")
            addends.append(Addend(value=word, largest=largest, at=3, doubles=doubles))
        return one_sum(pipe, addends)


class DualLanes(_Powers):
    """Two codes of each activation: one for even powers, one in steps smaller by the root of two.

    A weight selects one of them and shifts it by whole bits: one integer sum, in any order.
    """

    second_code = True

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: all ones, of the second code's width for odd powers."""
        even, odd = self.weights()[code]
        return (-even * full(bits) - odd * full(bits + 1) if negative(code) else 0,)

    def shared(self, pipe: Pipe, activation: Value, second: Value, name: str) -> Sequence[Value]:
        """Both codes; the quantizer makes them, once for all channels.

        Parameters are those of `Lanes.shared`.
        """
        return [register(pipe, activation, name), register(pipe, second, f"{name}_second")]

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Each lane's word."""
        pairs = self.weights().values()
        most = [max(pair[i] for pair in pairs) for i in range(2)]
        largest = max(most[0] * full(bits), most[1] * full(bits + 1))
        addends = []
        for index, lane in enumerate(lanes):
            (first, second), weight, name = lane.words, lane.weight, f"lane{index}"
            sign, is_odd = weight[-1], weight[0]
            # The highest bit is the second code's alone, and inverted with it.
            flips = Cat(sign.replicate(bits), sign & is_odd)
            chosen = Mux(is_odd, second, first) ^ flips
            taken = pipe.later(chosen[: bits + 1], f"{name}_taken", clear=weight[:-1].all())
            late = [
                pipe.later(bit, f"{name}_late{i}")
                for i, bit in enumerate((weight[2], ~weight[2], weight[1]))
            ]
            word = shift_stage(pipe, taken, 2, late[0], late[1], f"{name}_shift2")
            doubles = pipe.later(late[2], f"{name}_doubles")
            addends.append(Addend(value=word, largest=largest, at=2, doubles=doubles))
        return one_sum(pipe, addends)


class PairLanes(_Powers):
    """Even and odd powers, each with a sum of its own: exact, in any order."""

    sums = PAIR

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Each lane's word for both sums; it is 0 for one of them."""
        made: dict[str, list[Addend]] = {name: [] for name in self.sums}
        most = [max(pair[i] for pair in self.weights().values()) for i in range(2)]
        for index, lane in enumerate(lanes):
            weight, name = lane.weight, f"lane{index}"
            word = _shifted_by_2(lane.words[0], weight[2], weight[-1])
            # Zero is the highest odd code, which leaves the even sum alone by that.
            clears = (weight[0], ~weight[0] | weight[:-1].all())
            doubles = pipe.later(weight[1], f"{name}_doubles")
            for which, clear, factor in zip(self.sums, clears, most, strict=True):
                largest = full(bits) * factor
                kept = pipe.later(word, f"{name}_{which}", clear=clear)
                made[which].append(Addend(value=kept, largest=largest, at=1, doubles=doubles))
        return {name: sum_of(pipe, addends, name) for name, addends in made.items()}


class OrderedLanes(Lanes):
    """Even powers first, then odd ones: a weight is a sign, a bit for zero, and a shift."""

    def weights(self) -> Mapping[int, tuple[int, int]]:
        """Powers of two: which sum they count in, their place in the order says."""
        sign, zero = 1 << (WEIGHT_BITS - 1), 1 << (WEIGHT_BITS - 2)
        shifts = range(zero)
        return {
            **{shift: (1 << shift, 0) for shift in shifts},
            zero: (0, 0),
            **{sign | shift: (-1 << shift, 0) for shift in shifts},
        }

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of negative weights: all ones, shifted as the activation is."""
        return (-self.weights()[code][0] * full(bits) if negative(code) else 0,)

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Each lane's word."""
        addends = []
        for index, lane in enumerate(lanes):
            weight, name = lane.weight, f"lane{index}"
            word = _shifted_by_2(lane.words[0], weight[1], weight[-1])
            addends.append(
                Addend(
                    value=pipe.later(word, f"{name}_word", clear=weight[2]),
                    largest=full(bits) << 3,
                    at=1,
                    doubles=pipe.later(weight[0], f"{name}_doubles"),
                )
            )
        return one_sum(pipe, addends)


def _shifted_by_2(word: Value, shifts: Value, inverts: Value) -> Value:
    """The word, inverted or not, then shifted by two or not: four inputs for each bit."""
    inverted = word ^ inverts.replicate(len(word))
    wide = Cat(inverted, Const(0, 2))
    return Mux(shifts, (inverted << 2)[: len(wide)], wide)
