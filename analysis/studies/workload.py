"""Real work for a unit: weights of a network's layer with the activations that they meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.layers import Conv
from asq_hw.numbers.fixedpoint import sqrt2_times
from asq_hw.numbers.schemes import POST
from rtl.array.design import Array
from rtl.array.kinds import ArrayKind
from rtl.array.lanes import WEIGHT_BITS
from rtl.design import Design, Rows
from rtl.emit.vectors import Vectors
from rtl.mac.design import Mac
from rtl.mac.schemes import Accumulation
from rtl.quantizer.of_layer import LayerUnits
from rtl.verify.traced import images_for, trace

__all__ = ["Workload", "nearest_codes", "nearest_levels", "traced_workload"]

Integers = NDArray[np.int64]
Values = NDArray[np.float64]

_ACTIVATION_BITS = 4
_IMAGES = 20
_PRODUCTS = 32000
_SCALES = np.geomspace(0.05, 4, 400)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workload:
    """Dot products of a layer, in the order of its weights.

    Parameters
    ----------
    activations : sequence of int64 (K,) arrays
        Codes that each dot product meets.
    weights : sequence of float64 (K,) arrays
        Its weights, in units of the grid's smallest.
    """

    activations: Sequence[Integers]
    weights: Sequence[Values]

    @property
    def products(self) -> int:
        """Of all dot products."""
        return sum(map(len, self.weights))

    def check(self, design: Design) -> None:
        """Raise InputError if a design cannot do such work."""
        if not isinstance(design, Mac | Array) or not _is_one_channel(design):
            raise InputError(
                "switched energy is for single units and for arrays of one channel without a "
                f"window, not for {design.stem}"
            )
        is_signed = isinstance(design, Mac) and design.activation_signed
        if is_signed or design.activation_bits != _ACTIVATION_BITS:
            raise InputError(
                f"switched energy is for unsigned activations of {_ACTIVATION_BITS} bits, "
                f"not for {design.stem}"
            )

    def vectors(self, design: Design) -> Vectors:
        """The same dot products as a design's operations, one after the other, without a gap.

        A design of another grid has the nearest levels that a common scale gives.

        Raises
        ------
        InputError
            If the design is not one that takes weights and activations.
        """
        self.check(design)
        if isinstance(design, Mac):
            return Vectors.of(design, self._of_mac(design))
        assert isinstance(design, Array)
        return Vectors.of(design, self._of_array(design))

    def _of_mac(self, mac: Mac) -> Rows:
        pairs = mac.weight_grid.decode_table()
        values = {code: _value(pairs[stored]) for code, stored in mac.weight_codes.items()}
        odd = {code: bool(pairs[stored][1]) for code, stored in mac.weight_codes.items()}
        starts, activations, codes = [], [], []
        for acts, mine in zip(self.activations, self._nearest(values), strict=True):
            start = np.zeros(len(mine), dtype=np.int64)
            start[0] = 1
            if mac.accumulation is Accumulation.ORDERED:
                is_odd = np.array([odd[code] for code in mine.tolist()])
                order = np.argsort(is_odd, kind="stable")
                acts, mine = acts[order], mine[order]
                if is_odd.any():
                    start[np.count_nonzero(~is_odd)] = 1
            starts.append(start)
            activations.append(acts)
            codes.append(mine)
        rows = {
            "start": np.concatenate(starts),
            "activation": np.concatenate(activations),
            "weight": np.concatenate(codes),
        }
        return rows | ({"second": _second(rows["activation"])} if "second" in mac.operands else {})

    def _of_array(self, array: Array) -> Rows:
        groups = (
            self._ordered(array.kind)
            if array.kind.gathers
            else [
                [pair]
                for pair in zip(self.activations, self._nearest(_levels(array.kind)), strict=True)
            ]
        )
        rows = [_in_lanes(array, parts) for parts in groups]
        made = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        zeros = np.zeros(len(made["last"]), dtype=np.int64)
        return made | {name: zeros for name in array.biases}

    def _ordered(self, kind: ArrayKind) -> list[list[tuple[Integers, Integers]]]:
        """Of each dot product the groups that follow each other; weights of 0 are left out."""
        lanes = kind.lanes
        table = {code: pair[0] for code, pair in lanes.weights().items()}
        by_value = {value: code for code, value in table.items()}
        made = []
        chosen = self._nearest_levels(kind)
        for acts, levels in zip(self.activations, chosen, strict=True):
            parts = []
            for wanted in _groups(kind):
                place = np.isin(np.abs(levels), list(wanted))
                signs = np.sign(levels[place]).astype(int)
                codes = [
                    by_value[sign * wanted[abs(level)]]
                    for sign, level in zip(signs.tolist(), levels[place].tolist(), strict=True)
                ]
                parts.append((acts[place], np.array(codes, dtype=np.int64)))
            made.append(parts)
        return made

    def _nearest_levels(self, kind: ArrayKind) -> list[Integers]:
        """Signed magnitudes, or signed powers counted from 1."""
        if kind is ArrayKind.UNIFORM_SORTED:
            most = (1 << (WEIGHT_BITS - 1)) - 1
            return self._nearest({level: float(level) for level in range(-most, most + 1)})
        powers = {
            sign * (power + 1): sign * math.sqrt(2) ** power
            for power in range((1 << (WEIGHT_BITS - 1)) - 1)
            for sign in (-1, 1)
        }
        return self._nearest({0: 0.0, **powers})

    def _nearest(self, values: Mapping[int, float]) -> list[Integers]:
        codes = nearest_codes(np.concatenate(self.weights), values)
        ends = np.cumsum([len(each) for each in self.weights])[:-1]
        return list(np.split(codes, ends))


def _is_one_channel(design: Mac | Array) -> bool:
    return isinstance(design, Mac) or (design.channels, design.window) == (1, 0)


def _value(pair: tuple[int, int]) -> float:
    return pair[0] + pair[1] * math.sqrt(2)


def _second(activations: Integers) -> Integers:
    """The second code of the dual step: the first, times the root of two and rounded."""
    return np.array([sqrt2_times(value, 0) for value in activations.tolist()], dtype=np.int64)


def _levels(kind: ArrayKind) -> dict[int, float]:
    return {code: _value(pair) for code, pair in kind.lanes.weights().items()}


def _groups(kind: ArrayKind) -> list[dict[int, int]]:
    """Levels that come together, and what counts each of them in the code, in their order."""
    top = (1 << (WEIGHT_BITS - 1)) - 1
    match kind:
        case ArrayKind.UNIFORM_SORTED | ArrayKind.POST_SORTED:
            return [{level: 1} for level in range(top, 0, -1)]
        case _:
            # The odd powers are counted from theirs on: 1, 3 and 5 are shifts by 0, 1 and 2.
            return [
                {power + 1: 1 << power // 2 for power in range(parity, top, 2)} for parity in (0, 1)
            ]


def _in_lanes(array: Array, parts: Sequence[tuple[Integers, Integers]]) -> dict[str, Integers]:
    """Operations of one dot product; each part begins one, and is filled up with zeros."""
    lanes, neutral = array.lanes, array.kind.lanes.neutral
    activations, codes, ends = [], [], []
    for acts, mine in parts:
        count = max(1, -(-len(mine) // lanes))
        fill = count * lanes - len(mine)
        activations.append(np.pad(acts, (0, fill)).reshape(count, lanes))
        codes.append(np.pad(mine, (0, fill), constant_values=neutral).reshape(count, lanes))
        ends.append(np.arange(count) == count - 1)
    acts, mine = np.concatenate(activations), np.concatenate(codes)
    last = np.zeros(len(acts), dtype=np.int64)
    last[-1] = 1
    prefix = "0_" if array.kind.gathers else ""
    rows = {"last": last}
    for lane in range(lanes):
        rows[f"activation{prefix}{lane}"] = acts[:, lane]
        rows[f"weight0_{lane}"] = mine[:, lane]
        if array.kind.lanes.second_code:
            rows[f"second{lane}"] = _second(acts[:, lane])
    if array.kind.sums.marked_by:
        rows["ends0"] = np.concatenate(ends).astype(np.int64)
    return rows


def nearest_codes(weights: Values, values: Mapping[int, float]) -> Integers:
    """The code of each weight's nearest level, at the scale with the least squared error.

    Parameters
    ----------
    weights : float64 (N,)
        What is quantized.
    values : mapping of float
        Levels by code.
    """
    codes = np.array(list(values), dtype=np.int64)
    levels = np.array(list(values.values()))
    order = np.argsort(levels)
    places, _ = _at_best_scale(weights, levels[order])
    return codes[order][places]


def nearest_levels(weights: Values, levels: Sequence[float]) -> Values:
    """The nearest level to each weight, at the scale with the least squared error, and scaled.

    Parameters are those of `nearest_codes`.
    """
    ordered = np.sort(np.array(levels))
    places, scale = _at_best_scale(weights, ordered)
    nearest: Values = ordered[places] * scale
    return nearest


def _at_best_scale(weights: Values, levels: Values) -> tuple[Integers, float]:
    """Places among the levels, which ascend, and the scale."""
    best, least, at = np.zeros(len(weights), dtype=np.int64), math.inf, 1.0
    unit = float(np.abs(weights).max() / np.abs(levels).max())
    for scale in (unit * _SCALES).tolist():
        scaled = levels * scale
        places = np.searchsorted((scaled[1:] + scaled[:-1]) / 2, weights)
        error = float(np.square(scaled[places] - weights).sum())
        if error < least:
            best, least, at = places, error, scale
    return best, at


def traced_workload(units: LayerUnits, *, seed: int = 1) -> Workload:
    """Dot products of a layer, drawn among all that it makes of some images.

    They are drawn systematically: of all windows of activations, in the order of their sums, every
    N-th, and of all outputs, in the order of their weights' sums, too. So what little work does is
    as much like the whole as so many dot products can be.

    Parameters
    ----------
    units : LayerUnits
        The layer; weights of a POST grid and unsigned activations, both of 4 bits.
    seed : int
        Draws where the N-th is counted from, and which window meets which output.

    Raises
    ------
    InputError
        If the layer is of another kind.
    """
    layer = units.layer
    grid = layer.weight_grid
    if not isinstance(layer, Conv) or (grid.scheme, grid.bits, layer.groups) != (POST, 4, 1):
        raise InputError(
            f"layer {layer.name} must be a convolution of one group with 4-bit post weights"
        )
    if (layer.quantizer.grid.bits, layer.quantizer.grid.signed) != (_ACTIVATION_BITS, False):
        raise InputError(
            f"activations of layer {layer.name} must be unsigned and have {_ACTIVATION_BITS} bits"
        )
    codes = trace(units, images_for(units.network, _IMAGES)).codes
    random = np.random.default_rng([seed, 5])
    table = grid.decode_table()
    outputs, _, height, width = layer.weight_codes.shape
    windows = np.lib.stride_tricks.sliding_window_view(codes, (height, width), axis=(2, 3))
    windows = windows.transpose(0, 2, 3, 1, 4, 5)
    sums = windows.sum(axis=(3, 4, 5), dtype=np.int64)
    weights = [
        np.array([_value(table[code]) for code in mine.tolist()])
        for mine in layer.weight_codes.reshape(outputs, -1)
    ]
    count = -(-_PRODUCTS // len(weights[0]))
    met = _systematic(sums.reshape(-1), count, random)
    made = _systematic(np.array([np.abs(mine).sum() for mine in weights]), count, random)
    places = zip(*np.unravel_index(met, sums.shape), strict=True)
    return Workload(
        activations=[windows[place].reshape(-1).astype(np.int64) for place in places],
        weights=[weights[output] for output in made.tolist()],
    )


def _systematic(sizes: Integers | Values, count: int, random: np.random.Generator) -> Integers:
    """Places of `count` of the sizes, evenly spread over their order, and shuffled."""
    order = np.argsort(sizes, kind="stable")
    at = (random.random() + np.arange(count)) * len(sizes) / count
    drawn: Integers = random.permutation(order[at.astype(np.int64)])
    return drawn
