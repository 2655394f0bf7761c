"""Overhead counts: the paper's printed table, and small networks counted by hand."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest

from analysis.cost.networks import find_network
from analysis.cost.overhead import Convention, overhead
from analysis.cost.shapes import LayerKind, LayerShape, NetworkShape
from analysis.cost.topologies import named_network
from asq_hw.errors import InputError
from asq_hw.network.topologies import PUBLISHED
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, UNIFORM
from asq_hw.numbers.widths import ADAPTER_BITS, BIAS_BITS, FEATURE_BITS, MULTIPLIER_BITS, STEP_BITS

PRINTED_TABLE_1 = {
    2: ("10.67", "0.14"),
    3: ("7.11", "0.10"),
    4: ("5.34", "0.07"),
    8: ("2.67", "0.04"),
}


def small_network(**second: object) -> NetworkShape:
    """An 8-bit stem, one quantized convolution with an adapter, an 8-bit classifier."""
    stem = LayerShape(
        name="stem", in_channels=1, out_channels=8, in_height=5, in_width=4, quantized=False
    )
    quantized = LayerShape(
        name="body",
        in_channels=8,
        out_channels=10,
        kernel_size=(3, 3),
        padding=(1, 1),
        in_height=5,
        in_width=4,
        adapter_hidden=2,
    )
    classifier = LayerShape(
        name="head", kind=LayerKind.LINEAR, in_channels=10, out_channels=3, quantized=False
    )
    return NetworkShape(name="small", layers=(stem, replace(quantized, **second), classifier))


# Table 1


@pytest.mark.parametrize("bits", PRINTED_TABLE_1)
def test_table_1_as_printed(bits):
    row = overhead(named_network("resnet18"), bits=[bits]).rows[0]
    printed = (f"{float(row.param_percent):.2f}", f"{float(row.compute_percent):.2f}")
    assert printed == PRINTED_TABLE_1[bits]


def test_counts_behind_table_1():
    counts = overhead(named_network("resnet18"), bits=[4]).rows[0].as_dict()
    assert counts["adapter_weights"] == 306_112
    assert counts["network_weights"] == 11_166_912
    assert counts["network_multiplications"] == 1_695_547_392
    assert counts["adapter_operations"] == 2 * 306_112


def test_paper_convention_by_hand():
    row = overhead(small_network(), bits=[3]).rows[0]
    adapters, weights, multiplications = 8 * 2 + 2, 8 + 8 * 10 * 9, 8 * 10 * 9 * 20
    assert row.param_percent == Fraction(100 * 8 * adapters, 3 * (weights + adapters))
    assert row.compute_percent == Fraction(100 * 8 * 2 * adapters, 3 * multiplications)


def test_paper_convention_ignores_the_encoding():
    network = named_network("resnet18")
    packed, paper = (overhead(network, encoding=e) for e in (Encoding.PACKED, Encoding.PAPER))
    assert packed == paper


# The stored convention


def stored_row(
    network: NetworkShape, bits: int, encoding: Encoding | None = None
) -> dict[str, int]:
    result = overhead(network, bits=[bits], convention=Convention.STORED, encoding=encoding)
    return result.rows[0].as_dict()


def test_stored_storage_by_hand():
    row = stored_row(small_network(), 4)
    body = 8 * 10 * 9
    outputs = 8 + 10 + 3
    assert row["weight_bits"] == 8 * 8 + body * 4 + 30 * 8
    assert row["multiplier_bits"] == outputs * MULTIPLIER_BITS
    assert row["bias_bits"] == outputs * BIAS_BITS
    assert row["step_bits"] == 2 * STEP_BITS
    assert row["adapter_weight_bits"] == (8 * 2 + 2) * ADAPTER_BITS
    assert row["adapter_bias_bits"] == (2 + 1) * BIAS_BITS
    assert row["adapter_scale_bits"] == 3 * MULTIPLIER_BITS
    assert row["buffer_bits"] == 8 * 5 * 4 * FEATURE_BITS
    network = sum(row[k] for k in ("weight_bits", "multiplier_bits", "bias_bits", "step_bits"))
    asq = sum(row[f"adapter_{k}_bits"] for k in ("weight", "bias", "scale"))
    assert (row["network_storage_bits"], row["asq_storage_bits"]) == (network, asq)
    assert row["param_percent"] == pytest.approx(100 * asq / (network + asq), rel=1e-12)


def test_stored_compute_by_hand():
    row = stored_row(small_network(), 4)
    stem, body, head = 8 * 20, 8 * 10 * 9 * 20, 30
    outputs = 8 * 20 + 10 * 20 + 3
    assert row["multiplications"] == stem + body + head
    macs = 2 * (8 * stem + 4 * body + 8 * head)
    requantization = outputs * (MULTIPLIER_BITS + BIAS_BITS)
    assert row["network_operation_bits"] == macs + requantization

    inputs, channels, hidden = 8 * 20, 8, 2
    pooling = inputs * FEATURE_BITS + channels * MULTIPLIER_BITS
    adapter = 2 * 18 * ADAPTER_BITS + (hidden + 1) * (MULTIPLIER_BITS + BIAS_BITS)
    # 15 thresholds: the first is the step itself; 4 comparisons find the place of an element.
    thresholds = 14 * STEP_BITS + 4 * inputs * FEATURE_BITS
    updates = 10 * MULTIPLIER_BITS
    assert row["pooling_additions"] == inputs
    assert row["threshold_additions"] == 14
    assert row["comparisons"] == 4 * inputs
    assert row["asq_operation_bits"] == pooling + adapter + thresholds + updates
    percent = 100 * (pooling + adapter + thresholds + updates) / (macs + requantization)
    assert row["compute_percent"] == pytest.approx(percent, rel=1e-12)


def test_fixed_steps_cost_asq_nothing():
    row = stored_row(small_network(adapter_hidden=None), 4)
    assert row["param_percent"] == row["compute_percent"] == 0
    assert row["asq_storage_bits"] == row["asq_operation_bits"] == row["buffer_bits"] == 0
    assert row["step_bits"] == 3 * STEP_BITS
    paper = overhead(small_network(adapter_hidden=None), bits=[4]).rows[0]
    assert paper.param_percent == paper.compute_percent == 0


def test_buffer_is_the_largest_layers_feature_map():
    row = stored_row(named_network("resnet18"), 4)
    assert row["buffer_bits"] == 64 * 56 * 56 * FEATURE_BITS


def test_papers_encoding_stores_one_bit_more_for_each_quantized_weight():
    network = small_network()
    packed, paper, zero_free = (stored_row(network, 3, e) for e in Encoding)
    assert paper["weight_bits"] - packed["weight_bits"] == 8 * 10 * 9
    assert zero_free["weight_bits"] == packed["weight_bits"]
    assert paper["adapter_weight_bits"] == packed["adapter_weight_bits"]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("convention", Convention)
def test_layers_add_up_to_the_network(name, convention):
    row = overhead(named_network(name), bits=[4], convention=convention).rows[0]
    total = row.counts.as_dict()
    parts = [layer.counts.as_dict() for layer in row.layers]
    for key, value in total.items():
        join = max if key == "buffer_bits" else sum
        assert join(part[key] for part in parts) == value, key


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("convention", Convention)
def test_fewer_bits_make_the_adapter_weigh_more(name, convention):
    rows = overhead(named_network(name), bits=range(2, 9), convention=convention).rows
    for narrow, wide in pairwise(rows):
        assert narrow.param_percent > wide.param_percent
        assert narrow.compute_percent > wide.compute_percent


def test_mobilenetv2_has_more_adapter_than_network_weights():
    counts = overhead(named_network("mobilenetv2"), bits=[4]).rows[0].as_dict()
    assert counts["adapter_weights"] > counts["network_weights"]


# Model files


def with_grids(*grids: Grid) -> NetworkShape:
    layers = zip(small_network().layers, grids, strict=True)
    return NetworkShape(
        name="filed",
        layers=tuple(replace(layer, weight_grid=grid, activation_bits=5) for layer, grid in layers),
    )


EIGHT = Grid(scheme=UNIFORM, bits=8)


def test_a_models_own_widths_are_the_default():
    body = Grid(scheme=POST, bits=3, encoding=Encoding.PAPER)
    result = overhead(with_grids(EIGHT, body, EIGHT), convention=Convention.STORED)
    assert [row.bits for row in result.rows] == [3]
    row = result.rows[0].as_dict()
    assert row["weight_bits"] == 8 * 8 + 8 * 10 * 9 * 4 + 30 * 8
    assert row["comparisons"] == 5 * 160


@pytest.mark.parametrize(("bits", "shown"), [(None, 8), (4, 4)])
def test_a_first_and_a_last_layer_alone_have_no_adapters(bits, shown):
    whole = with_grids(EIGHT, Grid(scheme=POST, bits=3), EIGHT)
    edges = replace(whole, layers=(whole.layers[0], whole.layers[-1]))
    (row,) = overhead(edges, bits=None if bits is None else (bits,)).rows
    assert row.bits == shown
    assert row.as_dict()["param_percent"] == row.as_dict()["adapter_weights"] == 0


def test_a_models_widths_can_be_replaced():
    body = Grid(scheme=POST, bits=3, encoding=Encoding.PAPER)
    row = stored_row(with_grids(EIGHT, body, EIGHT), 6, Encoding.PACKED)
    assert row["weight_bits"] == 8 * 8 + 8 * 10 * 9 * 6 + 30 * 8
    assert row["comparisons"] == 6 * 160


def test_uniform_weights_take_no_encoding():
    body = Grid(scheme=UNIFORM, bits=3)
    row = stored_row(with_grids(EIGHT, body, EIGHT), 3, Encoding.PAPER)
    assert row["weight_bits"] == 8 * 8 + 8 * 10 * 9 * 3 + 30 * 8


def test_layers_of_different_width():
    network = with_grids(EIGHT, Grid(scheme=POST, bits=3), EIGHT)
    extra = replace(network.layers[1], name="more", weight_grid=Grid(scheme=POST, bits=4))
    mixed = NetworkShape(name="mixed", layers=(*network.layers[:2], extra, network.layers[2]))
    row = overhead(mixed, convention=Convention.STORED).rows[0].as_dict()
    assert row["bits"] is None
    assert row["weight_bits"] == 8 * 8 + 8 * 10 * 9 * (3 + 4) + 30 * 8
    with pytest.raises(InputError, match="layers of mixed have different widths"):
        overhead(mixed)
    assert overhead(mixed, bits=[4]).rows[0].bits == 4


# Output


def test_document_is_json_with_what_the_command_promises():
    result = overhead(named_network("resnet18"), bits=[2, 4])
    document = json.loads(json.dumps(result.as_dict(per_layer=True)))
    assert document["network"] == "resnet18"
    assert document["convention"] == "paper"
    assert [row["bits"] for row in document["rows"]] == [2, 4]
    assert document["rows"][1]["param_percent"] == float(result.rows[1].param_percent)
    assert len(document["layers"]) == 2 * 21
    assert {"layer", "bits", "param_percent", "adapter_weights"} <= set(document["layers"][0])
    assert "layers" not in result.as_dict()


def test_default_widths_are_those_of_table_1():
    assert [row.bits for row in overhead(named_network("resnet18")).rows] == list(PRINTED_TABLE_1)


@pytest.mark.parametrize("convention", Convention)
def test_frames_hold_the_records(convention):
    result = overhead(named_network("resnet20"), convention=convention)
    frame = result.to_frame()
    assert frame.to_dict("records") == result.records()
    layers = result.to_frame(per_layer=True)
    assert len(layers) == len(result.rows) * 22
    column = "network_weights" if convention is Convention.PAPER else "weight_bits"
    assert layers.groupby("bits")[column].sum().to_dict() == dict(
        zip(frame["bits"], frame[column], strict=True)
    )


def test_no_heavy_import():
    """The count needs none of the libraries that take long to load."""
    code = (
        "import sys; from analysis.cost.networks import find_network; "
        "from analysis.cost.overhead import overhead; overhead(find_network('resnet18')); "
        "print(*{'torch', 'numba', 'pandas', 'matplotlib', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# Bad input


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 17])
@pytest.mark.parametrize("convention", Convention)
def test_bits_out_of_range(bits, convention):
    with pytest.raises(InputError, match=rf"^bits must be 2\.\.8, not {bits}$"):
        overhead(named_network("resnet18"), bits=[4, bits], convention=convention)


def test_no_bits_at_all():
    with pytest.raises(InputError, match="bits must name at least one width"):
        overhead(named_network("resnet18"), bits=[])


def test_unknown_convention():
    with pytest.raises(InputError, match="convention must be one of paper, stored, not 'mine'"):
        overhead(named_network("resnet18"), convention="mine")


@pytest.mark.parametrize("name", ["vgg", "", "a" * 5000, "null\0byte", "ResNet18"])
def test_unknown_network_lists_the_known_ones(name):
    with pytest.raises(
        InputError, match=r"^network .*resnet18, .* or a model file, not '"
    ) as error:
        find_network(name)
    assert len(str(error.value)) < 250
