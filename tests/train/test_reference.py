"""What export compares trained layers with computes as the oracle does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.train.export.reference import run_layer
from tests.helpers.networks import network_of_every_kind, networks, random_images

SPLIT, DUAL = Product(), Product(kind=ProductKind.POST_DUAL)
ROUNDED = 2.0**-5
"""Half a unit of the 4 fraction bits that a sum with √2 has (docs/arithmetic.md, section 5)."""
SQRT2_ERROR = abs(46341 * 2.0**-15 - math.sqrt(2))
"""Of R2, the integer that stands for √2 there."""


def joining_error(layer: Conv | Linear, odd: NDArray[np.int64], steps: NDArray[np.int64]) -> Any:
    """How far outputs may be from those of doubles, where sums of POST are joined in integers.

    ``V * 2**-4`` is off ``E + O * sqrt(2)`` by `ROUNDED`, and by `SQRT2_ERROR` for each of ``O``.
    Requantization multiplies by ``m * 2**-R``; then both are rounded, which takes two numbers at
    most to the next whole distance, and saturated, which takes them no further apart.
    """
    m = steps[:, None] * layer.multiplier.astype(np.int64)
    m = np.floor(m * 2.0**-layer.narrow_shift + 0.5)[:, :, None, None]
    off = np.where(odd == 0, 0, ROUNDED + np.abs(odd) * SQRT2_ERROR)
    return np.ceil(off * np.abs(m) * 2.0**-layer.shift)


def check(network: IntegerNetwork, seed: int, product: Product) -> None:
    """Hold each layer alone against the oracle's, on the oracle's own integers."""
    pixels = random_images(network, 2, seed)
    traced = oracle.trace(network, pixels, product)
    maps = traced.feature_maps
    made = network.feature_maps()
    steps: dict[str, torch.Tensor] = {}
    for layer in network.layers:
        sources = [maps[name] for name in layer.source_names] or [pixels]
        given_to_it = [torch.from_numpy(np.array(one, dtype=np.float64)) for one in sources]
        bits = made[layer.name].format.bits
        found = run_layer(layer, given_to_it, bits, product, steps).numpy()
        expected = maps[layer.name]
        assert found.shape == expected.shape
        sums = traced.accumulators.get(layer.name, ())
        allowed: Any = 0
        if len(sums) == 2:  # all other arithmetic is the same
            assert isinstance(layer, Conv | Linear)
            allowed = joining_error(layer, sums[1], traced.steps[layer.name])
        assert (np.abs(found - expected) <= allowed).all(), layer


@pytest.mark.parametrize("product", [SPLIT, DUAL])
def test_every_kind_of_layer(product: Product) -> None:
    check(network_of_every_kind(), seed=0, product=product)


@settings(max_examples=40)
@given(network=networks(), seed=st.integers(0, 2**32 - 1), product=st.sampled_from([SPLIT, DUAL]))
def test_layers_of_drawn_networks(network: IntegerNetwork, seed: int, product: Product) -> None:
    check(network, seed, product)
