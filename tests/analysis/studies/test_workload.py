"""A layer's work as operations: the same dot products for every unit, and what it refuses."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from analysis.studies.switching import with_energy
from analysis.studies.workload import Workload, nearest_codes, traced_workload
from asq_hw.errors import InputError
from asq_hw.files.packaged import PACKAGED_MODEL
from asq_hw.modelfile import load
from rtl.array.design import Array
from rtl.array.kinds import ArrayKind
from rtl.energy.switching import Switched
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.quantizer.of_layer import LayerUnits
from rtl.verify.traced import images_for, trace

ROOT = math.sqrt(2)
WORK = Workload(
    activations=[np.array([3, 5, 7, 9, 2]), np.array([1, 0, 4])],
    weights=[np.array([8.0, -ROOT, 2.0, 0.0, 4 * ROOT]), np.array([1.0, -4.0, 2 * ROOT])],
)
EVEN, ODD = [3 * 8 + 7 * 2, 1], [-5 + 2 * 4, 4 * 2]
"""Of both dot products: 38 and 3 root 2, then 1 and 8 root 2."""


def finished(array: Array) -> list[float]:
    """Joined results behind both dot products, less what their weights make them too large by."""
    vectors = WORK.vectors(array)
    rows = {port.name: vectors.columns[port.name] for port in array.inputs}
    ends = np.flatnonzero(rows["last"])
    weights = np.array([rows[f"weight0_{lane}"] for lane in range(array.lanes)])
    results = []
    for begin, end in zip([0, *ends[:-1] + 1], ends, strict=True):
        mine = {name: values[begin : end + 1] for name, values in rows.items()}
        excess = array.excess(weights[:, begin : end + 1])
        for index, name in enumerate(array.biases):
            mine[name] = np.full(end + 1 - begin, -excess[..., index].sum())
        results.append(array.reference(mine)["result"][-1] / 16)
    return results


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_an_array_is_given_the_same_dot_products(lanes: int) -> None:
    pair = Array(kind=ArrayKind.POST_PAIR, lanes=lanes, channels=1)
    wanted = [even + odd * ROOT for even, odd in zip(EVEN, ODD, strict=True)]
    assert finished(pair) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("kind", [ArrayKind.POST_ORDERED, ArrayKind.POST_SORTED])
def test_an_order_changes_no_dot_product(kind: ArrayKind) -> None:
    work = Workload(
        activations=WORK.activations, weights=[np.abs(weights) for weights in WORK.weights]
    )
    array = Array(kind=kind, lanes=2, channels=1)
    vectors = work.vectors(array)
    rows = {port.name: vectors.columns[port.name] for port in array.inputs}
    ends = np.flatnonzero(rows["last"])
    results = array.reference(rows)["result"][ends] / 16
    assert results == pytest.approx([38 + (5 + 8) * ROOT, 1 + 8 * ROOT], abs=0.05)


def test_a_unit_sums_the_same_dot_products() -> None:
    mac = Mac(scheme="post-split")
    vectors = WORK.vectors(mac)
    rows = {port.name: vectors.columns[port.name] for port in mac.inputs}
    sums = mac.reference(rows)
    assert [sums["even"][4], sums["odd"][4]] == [EVEN[0], ODD[0]]
    assert [sums["even"][-1], sums["odd"][-1]] == [EVEN[1], ODD[1]]


def test_a_unit_of_two_codes_is_given_both() -> None:
    mac = Mac(scheme="post-dual")
    rows = WORK.vectors(mac).columns
    assert rows["second"].tolist() == [round(q * ROOT) for q in rows["activation"].tolist()]


def test_ordered_sums_begin_anew_with_the_odd_powers() -> None:
    mac = Mac(scheme="post-split", accumulation="ordered")
    vectors = WORK.vectors(mac)
    rows = {port.name: vectors.columns[port.name] for port in mac.inputs}
    assert rows["start"].tolist() == [1, 0, 0, 1, 0, 1, 0, 1]
    sums = mac.reference(rows)["accumulator"]
    assert [sums[2], sums[4]] == [EVEN[0], ODD[0]]


def test_other_grids_have_the_nearest_levels() -> None:
    weights = np.array([-4.0, -1.9, 0.3, 2.1, 6.0])
    codes = nearest_codes(weights, {level & 7: 2.0 * level for level in range(-3, 4)})
    assert codes.tolist() == [-2 & 7, -1 & 7, 0, 1, 3]


def test_a_layers_work_is_drawn_by_its_seed() -> None:
    units = LayerUnits.of(load(PACKAGED_MODEL), "layer1.0.conv1")
    one, same, other = (traced_workload(units, seed=seed) for seed in (1, 1, 2))
    assert one.products >= 32_000
    assert all(len(each) == 144 for each in one.weights)
    assert all(map(np.array_equal, one.activations, same.activations))
    assert not all(map(np.array_equal, one.activations, other.activations))


def test_a_layers_work_is_like_all_that_it_does() -> None:
    """Whatever the seed: the mean code is that of all windows, and outputs take equal parts."""
    units = LayerUnits.of(load(PACKAGED_MODEL), "layer2.1.conv1")
    codes = trace(units, images_for(units.network, 20)).codes
    windows = np.lib.stride_tricks.sliding_window_view(codes, (3, 3), axis=(2, 3))
    pairs = units.layer.weight_grid.decode_table()
    magnitudes = [
        abs(pairs[code][0] + pairs[code][1] * ROOT) for code in units.layer.weight_codes.flat
    ]
    for seed in range(1, 6):
        work = traced_workload(units, seed=seed)
        assert np.mean(work.activations) == pytest.approx(windows.mean(), rel=0.01)
        assert np.abs(work.weights).mean() == pytest.approx(np.mean(magnitudes), rel=0.01)
        times = Counter(tuple(each) for each in work.weights)
        assert len(times) == 32 and set(times.values()) <= {3, 4}


def test_what_has_no_such_work_is_refused() -> None:
    units = LayerUnits.of(load(PACKAGED_MODEL), "fc")
    with pytest.raises(InputError, match="layer fc must be a convolution of one group with 4-bit"):
        traced_workload(units)
    dot = DotProduct(mac=Mac(scheme="uniform"), lanes=2)
    with pytest.raises(InputError, match="is for single units and for arrays of one channel"):
        WORK.vectors(dot)
    with pytest.raises(InputError, match="unsigned activations of 4 bits, not for uniform_w4a3"):
        WORK.vectors(Mac(scheme="uniform", activation_bits=3))
    with pytest.raises(InputError, match="unsigned activations of 4 bits, not for array2x1_pot_a5"):
        WORK.vectors(Array(kind=ArrayKind.POT, lanes=2, channels=1, activation_bits=5))


def test_energy_is_for_a_product_and_over_the_best_peer() -> None:
    rows = [{"who": who, "size": size} for who, size in (("u", 1), ("u", 1), ("p", 1), ("p", 2))]
    switched = [
        Switched(operations=9, changes=10 * n, logic_pj=3.0 * n, clock_pj=1.0) for n in (4, 2, 3, 1)
    ]
    made = with_energy(rows, switched, 10, ["size"], lambda row: row["who"] == "u")
    assert [row["energy_pj"] for row in made] == [1.3, 0.7, 1.0, 0.4]
    assert made[2]["energy_ratio"] == pytest.approx(1.0 / 0.7)
    assert made[2]["changes_ratio"] == pytest.approx(1.5)
    assert made[3]["energy_ratio"] is None
