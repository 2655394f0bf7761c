"""Traces on disk, and the first tensor that differs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, Relu
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.sim import (
    Difference,
    TraceComparison,
    compare_traces,
    simulate,
    tensor_shapes,
    write_trace,
)
from tests.helpers import networks

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 2, 4, 3)).astype(np.uint8)


def _network(name: str = "conv", bias: int = 0) -> IntegerNetwork:
    codes = np.random.default_rng(1).choice([1, 2, 3, 9, 10, 11], (3, 2, 3, 3))
    return networks.network(
        networks.input_layer(4, 3, 2, multiplier=4),
        networks.conv(
            codes,
            name=name,
            scheme="post",
            bits=4,
            activations=networks.quantizer(4, 68),
            padding=(1, 1),
            bias=[0, bias, 0],
        ),
        Relu(name="relu", source=name),
        Add(name="sum", sources=("relu", name)),
    )


def _write(folder: Path, network: IntegerNetwork, product: Product | None = None) -> None:
    with write_trace(folder, network, len(IMAGES), product) as writer:
        simulate(network, IMAGES, product=product, batch_size=2, trace=writer)


def _compare(
    folder: Path, network: IntegerNetwork, product: Product | None = None
) -> Difference | None:
    comparison = TraceComparison(folder, network, product)
    simulate(network, IMAGES, product=product, batch_size=2, trace=comparison)
    return comparison.result()


def _change(folder: Path, name: str, index: tuple[int, ...], by: int = 1) -> int:
    """Change one element of a stored tensor; returns what it is then."""
    path = folder / f"{name}.npy"
    values = np.load(path, allow_pickle=False)
    values[index] += by
    np.save(path, values)
    return int(values[index])


@pytest.mark.parametrize("kind", ProductKind)
def test_a_trace_holds_every_tensor_and_equals_its_own_run(
    tmp_path: Path, kind: ProductKind
) -> None:
    network, product = _network(), Product(kind=kind)
    folder = tmp_path / "new" / "trace"
    _write(folder, network, product)
    names = list(tensor_shapes(network, product))
    middle = {
        ProductKind.POST_SPLIT: ["conv-even", "conv-odd"],
        ProductKind.POST_LUT: ["conv-sum"],
        ProductKind.POST_DUAL: ["conv-odd-codes", "conv-sum"],
    }[kind]
    assert names == ["input", "conv-step", "conv-codes", *middle, "conv", "relu", "sum", "scores"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["index.json", *(f"{name}.npy" for name in names)]
    )
    index = json.loads((folder / "index.json").read_text())
    assert index["tensors"] == names
    assert (index["images"], index["product"]) == (5, kind)
    scores = np.load(folder / "scores.npy", allow_pickle=False)
    expected = simulate(network, IMAGES, product=product).scores
    np.testing.assert_array_equal(scores.reshape(5, -1), expected)
    assert _compare(folder, network, product) is None
    assert compare_traces(folder, folder, network, product) is None


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("input", (0, 0, 0, 0)),
        ("conv-step", (4,)),
        ("conv-codes", (3, 1, 3, 2)),
        ("conv-odd", (1, 2, 0, 1)),
        ("conv", (2, 2, 3, 2)),
        ("scores", (4, 35, 0, 0)),
    ],
)
def test_a_changed_element_is_named(tmp_path: Path, name: str, index: tuple[int, ...]) -> None:
    network = _network()
    _write(tmp_path, network)
    expected = _change(tmp_path, name, index)
    difference = _compare(tmp_path, network)
    wanted = Difference(tensor=name, index=index, expected=expected, actual=expected - 1)
    assert difference == wanted
    place = ", ".join(map(str, index))
    assert str(difference) == f"{name}[{place}] is {expected - 1}, expected {expected}"


def test_the_first_in_execution_order_wins_over_earlier_samples(tmp_path: Path) -> None:
    network = _network()
    _write(tmp_path, network)
    _change(tmp_path, "relu", (0, 0, 0, 0))
    _change(tmp_path, "conv", (4, 2, 1, 1))
    _change(tmp_path, "conv", (4, 2, 1, 2))
    _change(tmp_path, "conv", (3, 2, 3, 2))
    difference = _compare(tmp_path, network)
    assert difference is not None
    assert (difference.tensor, difference.index) == ("conv", (3, 2, 3, 2))


def test_two_networks_first_differ_where_they_do(tmp_path: Path) -> None:
    _write(tmp_path / "a", _network())
    _write(tmp_path / "b", _network(bias=2))
    difference = compare_traces(tmp_path / "a", tmp_path / "b", _network())
    assert difference is not None
    assert (difference.tensor, difference.index) == ("conv", (0, 1, 0, 0))
    assert difference.actual is not None and difference.expected is not None
    assert difference.actual - difference.expected == 2


def test_only_feature_maps_are_needed_without_an_index(tmp_path: Path) -> None:
    network = _network()
    _write(tmp_path, network)
    for name in ("index.json", "conv-step.npy", "conv-codes.npy", "conv-odd.npy"):
        (tmp_path / name).unlink()
    assert _compare(tmp_path, network) is None
    (tmp_path / "relu.npy").unlink()
    assert "missing" in str(_compare(tmp_path, network))


def test_a_missing_listed_tensor_is_a_difference(tmp_path: Path) -> None:
    network = _network()
    _write(tmp_path, network)
    (tmp_path / "conv-codes.npy").unlink()
    difference = _compare(tmp_path, network)
    assert difference is not None and difference.tensor == "conv-codes"
    assert "missing" in str(difference)
    assert str(compare_traces(tmp_path, tmp_path / "nowhere", network)).endswith("nowhere")


@pytest.mark.parametrize("shape", [(4, 3, 4, 3), (6, 3, 4, 3), (5, 3, 3, 4), (5, 36)])
def test_another_shape_is_a_difference(tmp_path: Path, shape: tuple[int, ...]) -> None:
    network = _network()
    _write(tmp_path, network)
    np.save(tmp_path / "conv.npy", np.resize(np.load(tmp_path / "conv.npy"), shape))
    difference = _compare(tmp_path, network)
    assert difference is not None and difference.tensor == "conv"
    assert str(shape) in str(difference) and "(5, 3, 4, 3)" in str(difference)


def test_other_layer_names_are_a_difference(tmp_path: Path) -> None:
    _write(tmp_path, _network())
    assert "missing" in str(_compare(tmp_path, _network(name="other")))


def test_nothing_compared_is_a_failure(tmp_path: Path) -> None:
    network = _network()
    _write(tmp_path, network)
    comparison = TraceComparison(tmp_path, network)
    assert comparison.result() is not None


def test_a_trace_cut_short_leaves_what_stood_there(tmp_path: Path) -> None:
    network = _network()
    _write(tmp_path, network)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        write_trace(tmp_path, _network(bias=3), len(IMAGES)) as writer,
    ):
        simulate(_network(bias=3), IMAGES, batch_size=2, trace=writer, progress=stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_trace_of_too_few_samples_is_not_written(tmp_path: Path) -> None:
    network = _network()
    with (
        pytest.raises(RuntimeError, match="2 of 5"),
        write_trace(tmp_path, network, 5) as writer,
    ):
        simulate(network, IMAGES[:2], trace=writer)
    assert list(tmp_path.iterdir()) == []


def test_unreadable_traces_are_refused(tmp_path: Path) -> None:
    network = _network()
    with pytest.raises(InputError, match="no trace folder"):
        TraceComparison(tmp_path / "nowhere", network)
    _write(tmp_path, network)
    np.save(tmp_path / "conv.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read .*conv.npy"):
        TraceComparison(tmp_path, network)
    np.save(tmp_path / "conv.npy", np.zeros((5, 3, 4, 3)))
    with pytest.raises(InputError, match="array of integers"):
        TraceComparison(tmp_path, network)
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(InputError, match="cannot read .*index.json"):
        TraceComparison(tmp_path, network)


def test_a_trace_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="trace folder .* could not be made"),
        write_trace(tmp_path / "file", _network(), 1),
    ):
        pytest.fail("the folder cannot be made")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.json", "[" * 200_000),
        ("index.json", '{"format": "asq-hw trace", "tensors": [[]]}'),
        ("index.json", None),
        ("input.npy", None),
        ("input.npy", "\x93NUMPY\x01\0v\0{'descr': '<i8', 'fortran_order': False, 'shape': (1"),
        ("input.npy", "x" * 10),
    ],
)
def test_a_hostile_trace_is_refused_and_not_waited_for(
    tmp_path: Path, name: str, content: str | None
) -> None:
    """None stands for a pipe without a writer."""
    if content is None:
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=name):
        TraceComparison(tmp_path, networks.network_of_every_kind())
