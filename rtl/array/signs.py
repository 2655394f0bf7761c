"""Lanes whose weights are sorted by magnitude: what is left of one is its sign, or that it is 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth.hdl import Value

from rtl.array.addends import Addend, Pipe
from rtl.array.lanes import LaneOperands, Lanes, full, one_sum

__all__ = ["SignLanes"]

_SIGN, _ZERO = 1 << 1, 1


class SignLanes(Lanes):
    """An activation that is added, subtracted, or left out."""

    weight_bits = 2

    def weights(self) -> Mapping[int, tuple[int, int]]:
        """1, -1 and 0: how much a 1 counts, its place in the order says."""
        return {0: (1, 0), _ZERO: (0, 0), _SIGN: (-1, 0)}

    def excess(self, code: int, bits: int, *, on_cells: bool) -> tuple[int, ...]:
        """Of what is subtracted: all ones."""
        return (full(bits) if code == _SIGN else 0,)

    def terms(self, pipe: Pipe, lanes: Sequence[LaneOperands], bits: int) -> Mapping[str, Addend]:
        """Activations with their signs."""
        addends = []
        for index, lane in enumerate(lanes):
            (word,), zero, sign = lane.words, lane.weight[0], lane.weight[1]
            inverts: Value | None = None
            if pipe.cells is None:
                word = word ^ sign.replicate(bits)
            else:
                inverts = pipe.later(sign, f"lane{index}_sign")
            kept = pipe.later(word, f"lane{index}_word", clear=zero)
            addends.append(Addend(value=kept, largest=full(bits), at=1, inverts=inverts))
        return one_sum(pipe, addends)
