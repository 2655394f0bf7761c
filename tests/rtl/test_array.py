"""Arrays: exact sums by every kind, in the Verilog and in the software model; what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT, UNIFORM
from rtl.array.design import Array
from rtl.array.kinds import ArrayKind, Dataflow
from rtl.design import Design
from rtl.emit.folder import DEFAULT_OPERATIONS
from rtl.emit.vectors import Vectors
from rtl.lib.cells import ECP5_CELLS
from rtl.units.array import ARRAY
from rtl.verify.simulation import simulate
from rtl.verify.simulators import Simulator

GRIDS = {
    ArrayKind.UNIFORM_15: UNIFORM,
    ArrayKind.UNIFORM_15_PRODUCTS: UNIFORM,
    ArrayKind.UNIFORM_16: UNIFORM,
    ArrayKind.POT: POT,
    ArrayKind.APOT: APOT,
    ArrayKind.POST_LUT: POST,
    ArrayKind.POST_PAIR: POST,
    ArrayKind.POST_DUAL: POST,
}
ROOT = 46341  # round(2**15 * sqrt(2))


def built(kind: ArrayKind, lanes: int, channels: int, way: str, **options: int) -> Array:
    return Array(
        kind=kind,
        lanes=lanes,
        channels=channels,
        registered=way != "gates",
        cells=ECP5_CELLS if way == "ecp5" else None,
        **options,
    )


WAYS = ("portable", "ecp5", "gates")
SIZES = {"portable": (3, 2), "ecp5": (5, 1), "gates": (1, 2)}
ARRAYS = [
    built(kind, *SIZES[way], way, window=window)
    for kind in ArrayKind
    for way in WAYS
    for window in ((0, 5) if kind.gathers and way == "ecp5" else (0,))
]


@pytest.fixture(scope="module")
def results() -> dict[Design, object]:
    vectors = {array: Vectors.random(array, 400) for array in ARRAYS}
    return dict(simulate(vectors, simulator=Simulator.ICARUS))


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: array.stem)
def test_the_verilog_gives_what_the_software_model_does(array: Array, results) -> None:  # type: ignore[no-untyped-def]
    assert results[array].passed


def operations(array: Array, count: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """One sum, whose bias takes off what the weights make too much."""
    random = np.random.default_rng(seed)
    rows = array.stimulus(random, count)
    rows["last"] = np.zeros(count, dtype=np.int64)
    rows["last"][-1] = 1
    weights = [
        [rows[f"weight{channel}_{lane}"] for lane in range(array.lanes)]
        for channel in range(array.channels)
    ]
    excess = array.excess(np.array(weights)).sum(axis=(1, 2))
    for index, name in enumerate(array.biases):
        rows[name] = -excess[rows["channel"], index]
    return rows


def exact(kind: ArrayKind, code: int, first: int, second: int) -> tuple[int, int]:
    """A product as (even, odd) from the grid's own levels: the second way to every sum."""
    grid = Grid(scheme=GRIDS[kind], bits=4)
    magnitude = code & 7
    if kind in (ArrayKind.UNIFORM_15, ArrayKind.UNIFORM_15_PRODUCTS):
        value = (7 - magnitude) * (-1 if code & 8 else 1)
        return value * first, 0
    if kind is ArrayKind.UNIFORM_16:
        value = 15 - code
        return (value - 16 if value & 8 else value) * first, 0
    stored = code
    if kind in (ArrayKind.POT, ArrayKind.POST_PAIR, ArrayKind.POST_DUAL):
        stored = 0 if magnitude == 7 else code + 1
    even, odd = grid.decode_table()[stored]
    if kind is ArrayKind.POST_DUAL:
        return even * first + odd * second, 0
    if kind is ArrayKind.POST_LUT:
        return even * first + round(odd * first * math.sqrt(2)), 0
    return even * first, odd * first


@pytest.mark.parametrize("way", ["portable", "ecp5"])
@pytest.mark.parametrize("kind", GRIDS)
def test_a_result_is_the_exact_dot_product(kind: ArrayKind, way: str) -> None:
    array = built(kind, 3, 2, way)
    rows = operations(array, 20, seed=5)
    (result,) = array.reference(rows)["result"][-1:]
    channel = rows["channel"][-1]
    even = odd = 0
    for row in range(20):
        for lane in range(3):
            second = rows.get(f"second{lane}", rows["last"])[row]
            first, code = rows[f"activation{lane}"][row], rows[f"weight{channel}_{lane}"][row]
            part = exact(kind, int(code), int(first), int(second))
            even, odd = even + part[0], odd + part[1]
    joined = 16 * even + (2 * odd * ROOT + 2**11) // 2**12
    assert result == (joined if kind is ArrayKind.POST_PAIR else even)


def sorted_rows(array: Array, steps: list[tuple[int, int, int]]) -> dict[str, NDArray[np.int64]]:
    """Operations of one lane and channel: (activation, code, end of a level), the last ends all."""
    activations, codes, ends = (
        np.array(column, dtype=np.int64) for column in zip(*steps, strict=True)
    )
    last = np.zeros(len(steps), dtype=np.int64)
    last[-1] = 1
    rows = {"activation0_0": activations, "weight0_0": codes, "ends0": ends, "last": last}
    excess = array.excess(codes)[:, 0]
    return (
        rows
        | {name: np.zeros(len(steps), dtype=np.int64) for name in array.biases}
        | {"excess": excess}
    )


def test_magnitudes_come_from_the_ends_of_levels() -> None:
    """3 * 5 + 2 * 4 + 1 * 9 by hand: the largest magnitude first, nothing is multiplied."""
    array = built(ArrayKind.UNIFORM_SORTED, 1, 1, "portable")
    rows = sorted_rows(array, [(5, 0, 1), (4, 0, 1), (9, 0, 1)])
    assert array.reference(rows)["result"].tolist() == [0, 0, 3 * 5 + 2 * 4 + 9]


def test_powers_come_from_the_ends_of_levels() -> None:
    """5 * 2 + 4 * sqrt(2) + 9: even 19, odd 4."""
    array = built(ArrayKind.POST_SORTED, 1, 1, "portable")
    rows = sorted_rows(array, [(5, 0, 1), (4, 0, 1), (9, 0, 1)])
    joined = 16 * (5 * 2 + 9) + (2 * 4 * ROOT + 2**11) // 2**12
    assert array.reference(rows)["result"][-1] == joined


def test_even_powers_end_at_the_mark() -> None:
    """Codes 1, 2, 3 are 2, 4, 8: 5 * 2 + 1 * 4 even, then 3 * 8 odd."""
    array = built(ArrayKind.POST_ORDERED, 1, 1, "portable")
    rows = sorted_rows(array, [(5, 1, 0), (1, 2, 1), (3, 3, 0)])
    joined = 16 * 14 + (2 * 24 * ROOT + 2**11) // 2**12
    assert array.reference(rows)["result"][-1] == joined


def test_a_window_is_read_by_index() -> None:
    array = built(ArrayKind.UNIFORM_SORTED, 1, 1, "portable", window=3)
    one = np.array([1], dtype=np.int64)
    rows = {f"activation{place}": one * value for place, value in enumerate((7, 11, 13))}
    rows |= {"index0_0": one * 2, "weight0_0": one * 0, "ends0": one, "last": one, "bias": one}
    assert array.reference(rows)["result"].tolist() == [13 + 1]


@pytest.mark.parametrize("kind", GRIDS)
def test_emitted_sums_go_through_all_of_the_accumulators_that_are_tried(kind: ArrayKind) -> None:
    (option,) = (each for each in ARRAY.verify_options if each.name == "accumulator_bits")
    assert option.default == 16
    array = built(kind, 2, 1, "portable", accumulator_bits=32)
    rows = array.stimulus(np.random.default_rng(1), DEFAULT_OPERATIONS)
    rows |= {name: np.zeros(DEFAULT_OPERATIONS, dtype=np.int64) for name in array.biases}
    finished = array.reference(rows)["result"][rows["last"] != 0]
    # Many of them: a change of a high bit may have come to nothing where one of them ends.
    assert np.count_nonzero(finished >= 1 << 16) >= 3
    assert len({value >> 12 & 15 for value in finished.tolist()}) >= 5


def test_what_is_ordered_is_gathered_and_nothing_else() -> None:
    gathers = {kind for kind in ArrayKind if kind.gathers}
    assert gathers == {
        ArrayKind.POST_ORDERED,
        ArrayKind.POST_SORTED,
        ArrayKind.UNIFORM_SORTED,
    }
    assert all(kind.dataflows == (Dataflow.GATHER,) for kind in gathers)
    names = {port.name for port in built(ArrayKind.POST_DUAL, 4, 3, "portable").ports}
    assert {"activation3", "second3", "weight2_3"} <= names
    assert not {"activation0_0", "activation4"} & names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 0}, r"lanes must be an integer in 1..64, not 0"),
        ({"channels": 65}, r"channels must be an integer in 1..64, not 65"),
        ({"accumulator_bits": 15}, r"accumulator bits must be an integer in 16..32, not 15"),
        ({"kind": "none"}, "kind must be one of uniform-15, .* not 'none'"),
        ({"window": 4}, "a window is for ordered weights, not for post-dual"),
        ({"kind": "post-sorted", "window": 1}, r"window must be an integer in 2..256, not 1"),
    ],
)
def test_what_there_is_no_array_for_is_refused(change: dict[str, object], message: str) -> None:
    options = {"kind": "post-dual", "lanes": 2, "channels": 2} | change
    with pytest.raises(InputError, match=message):
        Array(**options)  # type: ignore[arg-type]
