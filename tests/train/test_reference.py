"""What export compares trained layers with computes as the oracle does."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asq_hw import oracle
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.schemes import POST
from asq_hw.train.export.reference import run_layer
from tests.helpers.networks import network_of_every_kind, networks, random_images

JOINED = 2.0**-9
"""Of the largest value, and 1: integers join the two sums of POST with √2 as a fraction of few
bits, doubles as a double. All other arithmetic is the same."""


def check(network: IntegerNetwork, seed: int) -> None:
    """Hold each layer alone against the oracle's, on the oracle's own integers."""
    pixels = random_images(network, 2, seed)
    maps = oracle.run(network, pixels)
    made = network.feature_maps()
    for layer in network.layers:
        sources = [maps[name] for name in layer.source_names] or [pixels]
        given_to_it = [torch.from_numpy(np.array(one, dtype=np.float64)) for one in sources]
        found = run_layer(layer, given_to_it, made[layer.name].format.bits).numpy()
        expected = maps[layer.name]
        assert found.shape == expected.shape
        joined = isinstance(layer, Conv | Linear) and layer.weight_grid.scheme is POST
        allowed = 1 + JOINED * np.abs(expected).max() if joined else 0
        assert np.abs(found - expected).max() <= allowed, layer


def test_every_kind_of_layer() -> None:
    check(network_of_every_kind(), seed=0)


@settings(max_examples=25)
@given(network=networks(), seed=st.integers(0, 2**32 - 1))
def test_layers_of_drawn_networks(network: IntegerNetwork, seed: int) -> None:
    check(network, seed)
