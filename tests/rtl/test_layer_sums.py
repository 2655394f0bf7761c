"""Dot-product units in their network: every sum of a layer, and one that is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from asq_hw.cli import main
from asq_hw.cli.options import BUNDLED, model_path
from asq_hw.errors import InputError
from asq_hw.modelfile import load
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import POST, UNIFORM, Scheme
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import MacScheme
from rtl.quantizer.of_layer import LayerUnits
from rtl.units.dot import DOT
from rtl.verify.layer_sums import run_sums, windows
from rtl.verify.met import Extent, Traced
from rtl.verify.simulators import Simulator
from rtl.verify.traced import images_for, trace
from tests.helpers import networks

GIVEN: dict[str, object] = {
    option.name: option.value(option.default) for option in DOT.verify_options
}


def layer_of(network: IntegerNetwork, name: str, product: ProductKind) -> LayerUnits:
    return replace(LayerUnits.of(network, name), product=Product(kind=product))


def two_channels() -> IntegerNetwork:
    """A convolution of two groups with a stride, padding and 4-bit POST weights."""
    codes = np.array([7, 6, 14, 0, 1, 15, 5, 9, 3, 4, 2, 12, 7, 15, 6, 11, 1, 10])
    return networks.network(
        networks.input_layer(5, 4, 2),
        networks.conv(
            codes.reshape(2, 1, 3, 3),
            scheme="post",
            bits=4,
            activations=networks.quantizer(4, 9),
            stride=(2, 1),
            padding=(1, 1),
            groups=2,
        ),
    )


def traced_sums(
    product: ProductKind, network: IntegerNetwork | None = None, **given: object
) -> tuple[DotProduct, Conv | Linear, Traced]:
    units = layer_of(network or two_channels(), "conv", product)
    design = DOT.design(GIVEN | {"lanes": 4} | given, units)
    return design, units.layer, trace(units, images_for(units.network, 3))


def of_integers(scheme: str, lowest: int) -> IntegerNetwork:
    """A convolution of signed activations, with every 3-bit integer from the lowest on."""
    values = np.array([*range(lowest, 4), 3, -2, lowest])[:9]
    codes = values & 7 if scheme == "uniform" else np.abs(values) | (values < 0) << 2
    signed = networks.quantizer(3, 9, signed=True)
    return networks.network(
        networks.input_layer(4, 4),
        networks.conv(
            np.resize(codes, (1, 1, 3, 3)),
            scheme=scheme,
            bits=3,
            activations=signed,
            padding=(1, 1),
        ),
    )


def test_windows_are_what_weights_meet() -> None:
    """By hand: a 3 x 3 map, a 2 x 2 kernel of stride 2, a row and a column of zeros around."""
    codes = np.arange(1, 10).reshape(1, 1, 3, 3)
    network = networks.network(
        networks.input_layer(3, 3),
        networks.conv(np.zeros((1, 1, 2, 2), dtype=int), stride=(2, 2), padding=(1, 1)),
    )
    layer = LayerUnits.of(network, "conv").layer
    assert windows(layer, codes)[0, 0].tolist() == [
        [0, 0, 0, 1],
        [0, 0, 2, 3],
        [0, 4, 0, 7],
        [5, 6, 8, 9],
    ]


@pytest.mark.parametrize("product", ProductKind)
def test_every_sum_of_a_layer_comes_from_the_verilog(product: ProductKind) -> None:
    design, layer, traced = traced_sums(product)
    outcome = run_sums(design, layer, traced, Simulator.ICARUS)
    assert outcome.passed
    assert outcome.cases == len(design.outputs[:1]) * traced.sums[0].size > 60


@pytest.mark.parametrize("product", ProductKind)
def test_deferred_signs_leave_the_weights_excess_in_every_sum(product: ProductKind) -> None:
    design, layer, traced = traced_sums(product, signs="deferred")
    assert any(any(terms) for terms in design.mac.excess.values())
    outcome = run_sums(design, layer, traced, Simulator.ICARUS)
    assert outcome.passed
    wrong = replace(traced, sums=(spoiled(traced.sums[0], 5), *traced.sums[1:]))
    assert ", 1 wrong of " in run_sums(design, layer, wrong, Simulator.ICARUS).detail


@pytest.mark.parametrize(
    ("scheme", "lowest", "given"),
    [
        ("symmetric", -3, {}),
        ("symmetric", -3, {"signs": "deferred"}),
        ("uniform", -3, {"codes": "sign-magnitude", "signs": "deferred"}),
        ("uniform", -4, {"codes": "inverted", "style": "rows"}),
        ("uniform", -4, {"codes": "inverted", "style": "rows", "signs": "deferred"}),
        ("uniform", -4, {"style": "booth", "signs": "deferred"}),
    ],
)
def test_weights_stand_at_the_ports_in_a_code_of_the_unit(
    scheme: str, lowest: int, given: dict[str, object]
) -> None:
    work = traced_sums(ProductKind.POST_SPLIT, of_integers(scheme, lowest), **given)
    outcome = run_sums(*work, Simulator.ICARUS)
    assert outcome.passed
    assert outcome.cases == 48


def test_a_weight_without_a_code_is_named() -> None:
    with pytest.raises(InputError, match="sign-magnitude have no place for weight code 4 of layer"):
        traced_sums(ProductKind.POST_SPLIT, of_integers("uniform", -4), codes="sign-magnitude")


def spoiled(values: NDArray[np.int64], place: int) -> NDArray[np.int64]:
    wrong = values.copy()
    wrong.reshape(-1)[place] ^= 1
    return wrong


@pytest.mark.parametrize("place", [0, 17, -1])
def test_a_sum_that_is_one_off_is_found(place: int) -> None:
    design, layer, traced = traced_sums(ProductKind.POST_DUAL)
    wrong = replace(traced, sums=(spoiled(traced.sums[0], place),))
    outcome = run_sums(design, layer, wrong, Simulator.ICARUS)
    assert not outcome.passed
    assert ", 1 wrong of " in outcome.detail


def test_a_second_code_that_is_another_is_found() -> None:
    design, layer, traced = traced_sums(ProductKind.POST_DUAL)
    assert traced.odd_codes is not None
    first = traced.odd_codes.copy()
    first[0, :, 2, 2] += 1
    outcome = run_sums(design, layer, replace(traced, odd_codes=first), Simulator.ICARUS)
    assert not outcome.passed


def test_accumulators_that_sums_do_not_fit_are_named() -> None:
    design, layer, traced = traced_sums(ProductKind.POST_DUAL)
    (sums,) = traced.sums
    high = design.outputs[0].range[1]
    wrong = replace(traced, sums=(np.where(sums == sums.max(), high + 1, sums),))
    outcome = run_sums(design, layer, wrong, Simulator.ICARUS)
    assert not outcome.passed
    assert f"accumulator must carry {high + 1}" in outcome.detail


def test_a_layer_s_unit_has_its_operands_and_accumulators() -> None:
    network = load(model_path(BUNDLED))
    units = layer_of(network, "layer3.2.conv2", ProductKind.POST_DUAL)
    mac = DOT.design(GIVEN, units).mac
    assert (mac.scheme, mac.weight_bits, mac.activation_bits) == (MacScheme.POST_DUAL, 4, 4)
    assert mac.accumulator_bits == max(bound.bits for bound in units.sums)
    first = DOT.design(GIVEN, layer_of(network, "conv1", ProductKind.POST_DUAL)).mac
    assert (first.scheme, first.weight_bits, first.activation_signed) == ("uniform", 8, True)
    refused: tuple[tuple[dict[str, object], str], ...] = (
        ({"scheme": "post-split"}, "scheme of layer layer3.2.conv2 must be post-dual"),
        ({"weight_bits": 5}, "weight bits of layer layer3.2.conv2 must be 4, not 5"),
        ({"accumulator_bits": 9}, "accumulator bits of layer layer3.2.conv2 must be at least"),
        ({"activation_signed": True}, "activation codes of layer layer3.2.conv2 must be unsigned"),
    )
    for change, words in refused:
        with pytest.raises(InputError, match=words):
            DOT.design(GIVEN | change, units)
    with pytest.raises(InputError, match="scheme must be named where there is no layer"):
        DOT.design(GIVEN)


@pytest.mark.parametrize(
    ("grid", "product", "scheme"),
    [
        (UNIFORM, ProductKind.POST_DUAL, MacScheme.UNIFORM),
        (POST, ProductKind.POST_DUAL, MacScheme.POST_DUAL),
        (POST, ProductKind.POST_LUT, MacScheme.POST_LUT),
    ],
)
def test_a_grid_and_a_product_name_a_scheme(
    grid: Scheme, product: ProductKind, scheme: MacScheme
) -> None:
    assert MacScheme.for_product(grid, product) is scheme


def test_how_much_is_met() -> None:
    assert Extent().of(100, 10) == 10
    assert Extent().of(5, 10) == 5
    assert Extent(whole=True).of(100, 10) == 100


# Every layer in one command


def test_layers_without_odd_codes_are_passed_over_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    met = []

    def check(meets: object, design: DotProduct, units: LayerUnits, extent: Extent) -> list[object]:
        met.append((design.layer, units.product.kind))
        return []

    monkeypatch.setattr("rtl.verify.network.check_in_network", check)
    command = ["verify", "quantizer", "--arrangement", "odd-ladder", "--method", "network"]
    assert main([*command, "--layer", "all", "--format", "json"]) == 0
    assert len(met) == 20 and {kind for _, kind in met} == {ProductKind.POST_DUAL}
    document = json.loads(capsys.readouterr().out)
    assert [reason.split()[1] for reason in document["passed_over"]] == ["conv1", "fc"]
    assert main([*command, "--layer", "all"]) == 0
    output = capsys.readouterr().out
    for name in ("conv1", "fc"):
        line = f"Passed over: layer {name} has no odd codes: its weights have no odd part."
        assert line in output.splitlines()
    assert main([*command, "--layer", "conv1"]) == 2
    assert "layer conv1 has no odd codes" in capsys.readouterr().err


def test_a_product_is_that_of_layers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    met = []

    def check(design: DotProduct, units: LayerUnits, extent: Extent) -> list[object]:
        met.append((design.mac.scheme, units.product.kind, extent))
        return []

    monkeypatch.setattr("rtl.verify.layer_sums.check_sums_in_network", check)
    command = ["verify", "dot", "--layer", "all", "--method", "network", "--product", "post-dual"]
    assert main([*command, "--images", "7", "--whole"]) == 0
    capsys.readouterr()
    schemes = [str(scheme) for scheme, *_ in met]
    assert schemes == ["uniform", *["post-dual"] * 20, "uniform"]
    assert all(each[1:] == (ProductKind.POST_DUAL, Extent(images=7, whole=True)) for each in met)
    for options, words in (
        (["--product", "post-dual"], "product is that of a layer, which must be named"),
        (["--layer", "fc", "--product", "exact"], "product must be one of post-split"),
        (["--layer", "fc", "--images", "0"], "images must be 1"),
    ):
        assert main(["verify", "dot", *options]) == 2
        assert words in capsys.readouterr().err
