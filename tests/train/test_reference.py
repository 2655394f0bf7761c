"""What export compares trained layers with computes as the oracle does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asq_hw import oracle
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.train.export.reference import run_layer
from tests.helpers.networks import network_of_every_kind, networks, random_images

SPLIT, DUAL = Product(), Product(kind=ProductKind.POST_DUAL)


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
        assert np.array_equal(found, expected), layer


@pytest.mark.parametrize("product", [SPLIT, DUAL])
def test_every_kind_of_layer(product: Product) -> None:
    check(network_of_every_kind(), seed=0, product=product)


@settings(max_examples=40)
@given(network=networks(), seed=st.integers(0, 2**32 - 1), product=st.sampled_from([SPLIT, DUAL]))
def test_layers_of_drawn_networks(network: IntegerNetwork, seed: int, product: Product) -> None:
    check(network, seed, product)
