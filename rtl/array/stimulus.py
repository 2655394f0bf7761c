"""Operations that go through all that an array's sums hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rtl.design import Port

if TYPE_CHECKING:
    from rtl.array.design import Array

__all__ = ["in_sums"]

Columns = dict[str, NDArray[np.int64]]

_RARELY = 1 / 64
"""Marks of a channel in sums of many lengths: what it sums up to them is long, too."""
_MOSTLY = 3 / 4


def in_sums(
    array: Array,
    rows: Columns,
    random: np.random.Generator,
    *,
    activations: Sequence[Port],
    marks: Sequence[Port],
) -> Columns:
    """Random operations as two long sums, sums of many lengths, short ones, and ones of one alone.

    In the long ones and in most of those of many lengths all words of a channel are one of the
    largest, so that they go through all that accumulators hold, and past it. A channel's mark comes
    nowhere in the first, and once, near the end, in the second: what is summed up to it is as long.

    Parameters
    ----------
    array : Array
        Whose operations they are.
    rows : dict of int64 (N,) arrays
        Random ones; changed.
    random : Generator
        What draws.
    activations, marks : sequence of Port
        The array's ports for activations, and the channels' marks.
    """
    operations = len(rows["last"])
    last = (random.random(operations) < 1 / 8).astype(np.int64)
    last[operations - operations // 8 :] = 1
    long, longest = operations - operations // 4, max(1, operations // 10)
    first, second = operations // 4, operations // 4 + 3 * operations // 16
    for mark in marks:
        rows[mark.name][:long] = random.random(long) < _RARELY
        rows[mark.name][:second] = 0
        rows[mark.name][second - second // 100 : second - second // 100 + 1] = 1
    begin, ends = 0, [first, second]
    while begin < long:
        end = ends.pop(0) if ends else min(long, begin + int(random.integers(1, longest + 1)))
        last[begin:end] = 0
        last[end - 1] = 1
        if end <= second or random.random() < _MOSTLY:
            _repeat(array, rows, slice(begin, end), random, activations)
        begin = end
    return rows | {"last": last}


def _repeat(
    array: Array,
    rows: Columns,
    part: slice,
    random: np.random.Generator,
    activations: Sequence[Port],
) -> None:
    """Give operations the same large words, those of each channel alike in all lanes.

    They are a large weight's with the largest activation, or a negative one's with an activation of
    0, whose bits are inverted then.
    """
    sign = int(random.choice((1, -1)))
    for port in activations:
        rows[port.name][part] = max(port.legal_values) if sign > 0 else 0
    sizes = {code: sign * sum(pair) for code, pair in array.kind.lanes.weights().items()}
    large = [code for code, size in sizes.items() if 2 * size >= max(sizes.values())]
    codes = random.choice(large, size=array.channels)
    for channel, code in enumerate(codes.tolist()):
        for lane in range(array.lanes):
            rows[f"weight{channel}_{lane}"][part] = code
