"""The bounds of docs/arithmetic.md, section 8, from the page and held against the reader's."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from asq_hw.network import bounds
from asq_hw.network.activation import AdaptiveStep, FixedStep, Step
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import AveragePool, Conv, GlobalAveragePool, Layer, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.oracle.arithmetic import R2, exp2, rshift, sqrt2
from asq_hw.oracle.codes import code_range, odd_code_range, weight_codes
from tests.helpers.networks import (
    Pixels,
    cases,
    network_of_every_kind,
    network_of_every_step,
)

Bound = tuple[str, str, int]
"""Layer, what is bounded, magnitude."""

PAGE = (Path(__file__).parents[2] / "docs" / "arithmetic.md").read_text(encoding="utf-8")


def largest_sums(layer: Conv | Linear, product: Product) -> list[int]:
    """``E*`` and ``O*``, or the one magnitude of a single sum."""
    pairs, has_sqrt2 = weight_codes(layer)
    ends = list(zip(code_range(layer.quantizer), odd_code_range(layer.quantizer), strict=True))
    f = product.lut_fraction_bits

    def term(part: int | None, code: int, codes: tuple[int, int]) -> int:
        (even, odd), (q, odd_code) = pairs[code], codes
        if part is not None:
            return (even, odd)[part] * q
        if product.kind is ProductKind.POST_DUAL:
            return even * q + odd * odd_code
        return 2**f * even * q + sqrt2(odd * q, f)

    joined = has_sqrt2 and product.kind is not ProductKind.POST_SPLIT
    parts: list[int | None] = [None] if joined else [0, 1] if has_sqrt2 else [0]
    rows = layer.weight_codes.reshape(len(layer.weight_codes), -1).tolist()
    found = []
    for part in parts:
        low = min(sum(min(term(part, c, q) for q in ends) for c in row) for row in rows)
        high = max(sum(max(term(part, c, q) for q in ends) for c in row) for row in rows)
        found.append(max(-low, high))
    return found


def bounds_of_weights(layer: Conv | Linear, product: Product) -> Iterator[Bound]:
    sums = largest_sums(layer, product)
    has_sqrt2 = weight_codes(layer).has_sqrt2
    split = len(sums) == 2
    lut = has_sqrt2 and product.kind is ProductKind.POST_LUT
    fraction = 4 if split else product.lut_fraction_bits if lut else 0
    pairs = weight_codes(layer).pairs.values()
    # S: a grid's largest level is 1, that is 2**S, but for uniform and apot ones.
    shift = layer.weight_grid.shift
    assert max(abs(even) for even, _ in pairs) <= 2**shift
    terms = int(layer.weight_codes[0].size)
    top = code_range(layer.quantizer)[1] + 1
    yield layer.name, "dot product", terms * top * 2 ** (shift + fraction + 1)
    if split:
        yield layer.name, "odd part", sums[1] * 2**16
    v = 2**4 * sums[0] + rshift(sums[1] * R2, 11) if split else sums[0]
    largest = largest_step(layer.quantizer.step)
    m = rshift(max(map(abs, layer.multiplier.tolist())) * largest, layer.narrow_shift) + 1
    yield layer.name, "requantization", v * m + 2 ** (layer.shift + fraction) + 2**32


def largest_step(step: Step) -> int:
    match step:
        case FixedStep():
            return step.step
        case AdaptiveStep():
            return step.stages[-1].maximum
        case LogLinearStep():
            return exp2(step.highest)
        case SharedExponentStep():
            return int(2**step.highest)
        case SharedAdapterStep():
            return step.maximum


def bounds_of_step(layer: Conv | Linear, source: FeatureMap) -> Iterator[Bound]:
    bits, (_, height, width) = source.format.bits, source.shape
    quantizer = layer.quantizer
    yield layer.name, "step comparison", 2 ** (bits + quantizer.step_fraction_bits + 1)
    step = quantizer.step
    if not isinstance(step, AdaptiveStep | LogLinearStep):
        return
    pooled = height * width * 2 ** (bits - 1) * step.pool_multiplier + 2**step.pool_shift
    yield layer.name, "adapter's pooled sum", pooled
    reach = pooled // 2**step.pool_shift
    if isinstance(step, LogLinearStep):
        total = sum(map(abs, step.weight.tolist())) * (reach + 1)
        yield layer.name, "exponent", total * max(1, step.multiplier) + 2**step.shift + 2**32
        return
    for stage in step.stages:
        weights = max(sum(map(abs, row)) for row in stage.weight.tolist())
        total = weights * (reach + 1) + max(map(abs, stage.bias.tolist()))
        yield layer.name, "adapter's sum", total * max(1, stage.multiplier) + 2**stage.shift
        reach = stage.maximum


def bounds_of(layer: Layer, source: FeatureMap | None, product: Product) -> Iterator[Bound]:
    match layer:
        case Conv() | Linear():
            assert source is not None
            yield from bounds_of_weights(layer, product)
            yield from bounds_of_step(layer, source)
        case AveragePool() | GlobalAveragePool():
            assert source is not None
            kernel = layer.kernel_size if isinstance(layer, AveragePool) else source.shape[1:]
            window = kernel[0] * kernel[1]
            yield layer.name, "pooled sum", window * 2**source.format.bits * layer.multiplier
        case _:
            pass


def checked(network: IntegerNetwork, product: Product) -> list[Bound]:
    """What the reader compares with 64 bits, in its order."""
    found: list[Bound] = []
    with pytest.MonkeyPatch.context() as patch:
        original = bounds.check_fits
        for module in list(sys.modules.values()):
            if getattr(module, "check_fits", None) is original:
                patch.setattr(module, "check_fits", lambda *bound: found.append(bound))
        network.check_product(product)
    return found


def expected(network: IntegerNetwork, product: Product) -> list[Bound]:
    maps = network.feature_maps()
    return [
        bound
        for layer in network.layers
        for bound in bounds_of(layer, maps.get(getattr(layer, "source", "")), product)
    ]


@settings(max_examples=100)
@given(case=cases())
def test_bounds_are_the_pages(case: tuple[IntegerNetwork, Pixels, Product]) -> None:
    network, _, product = case
    assert checked(network, product) == expected(network, product)


def test_every_row_of_the_page_is_a_bound() -> None:
    table = PAGE.partition("| bound | magnitude |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([a-z' ]+) \|", table, re.MULTILINE)
    made = (network_of_every_kind(), network_of_every_step())
    met = {what for net in made for _, what, _ in checked(net, Product())}
    assert sorted(rows) == sorted(met)


@pytest.mark.parametrize(("magnitude", "fits"), [(2**63 - 1, True), (2**63, False)])
def test_the_limit_is_the_pages(magnitude: int, fits: bool) -> None:
    assert "is 2^63 or more" in PAGE
    if fits:
        bounds.check_fits("layer", "sum", magnitude)
        return
    with pytest.raises(ValueError, match="needs 65 bits") as caught:
        bounds.check_fits("layer", "sum", magnitude)
    assert getattr(caught.value, "rule", None) == "L-width"
