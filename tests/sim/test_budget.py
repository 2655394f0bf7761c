"""Memory is added up before it is taken, refused beyond a limit, and shared where it can be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, GlobalAveragePool, Input
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import Product
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.sim import simulate
from asq_hw.sim.budget import Budget, default_memory_limit, weight_bytes
from asq_hw.sim.engine import Run
from asq_hw.sim.instruction_sets import AUTO, Kernel
from asq_hw.sim.lowering.network import lower
from asq_hw.sim.lowering.packing import packed_bytes
from tests.helpers.guards import peak_memory
from tests.helpers.networks import network_of_every_kind, random_images

MAP = FeatureFormat(bits=8, fraction_bits=4)


def wide_network(sizes: list[int]) -> IntegerNetwork:
    """Convolutions of 1 x 1 weight over maps of so many pixels a side, each padded to its size."""
    low = Input(
        name="input", height=sizes[0], width=sizes[0], shift=0, output=MAP,
        multiplier=np.array([1]), offset=np.array([0]),
    )  # fmt: skip
    layers: list[Conv] = []
    before, size = "input", sizes[0]
    for number, wanted in enumerate(sizes):
        padding = (wanted - size) // 2
        layers.append(
            Conv(
                name=f"conv{number}", source=before,
                quantizer=ActivationQuantizer(
                    grid=Grid(scheme=UNIFORM, bits=4), step_fraction_bits=4,
                    step=FixedStep(step=16),
                ),
                weight_grid=Grid(scheme=UNIFORM, bits=4),
                weight_codes=np.ones((1, 1, 1, 1), dtype=np.uint8),
                multiplier=np.array([1]), bias=np.array([0]), narrow_shift=0, shift=4,
                output=MAP, padding=(padding, padding),
            )
        )  # fmt: skip
        before, size = f"conv{number}", size + 2 * padding
    pool = GlobalAveragePool(name="pool", source=before, multiplier=1, shift=0)
    return IntegerNetwork(name="wide", layers=(low, *layers, pool))


def convolutions(network: IntegerNetwork) -> Iterator[Conv]:
    return (layer for layer in network.layers if isinstance(layer, Conv))


def test_layers_of_one_geometry_share_their_tables() -> None:
    """100 layers take what one takes, but for a few words."""
    one, many = (
        lower(wide_network([300] * count), Product(), kernel=Kernel.PORTABLE, keep=False)
        for count in (1, 100)
    )
    assert many.program.constants.size - one.program.constants.size < 100 * 2000
    assert one.program.constants.size > 2 * 300 * 300


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kernel", [Kernel.PORTABLE, AUTO])
def test_no_more_is_taken_than_was_added_up(keep: bool, kernel: Kernel) -> None:
    network = wide_network([400, 500, 600, 600, 600])
    images = random_images(network, 1, seed=0)
    with peak_memory() as peak:
        run = Run(network, images, product=Product(), kernel=kernel, keep=keep)
        run.memory(1)
    taken = run.plan.taken_bytes
    assert 0.3 * taken < peak[0] < 1.1 * taken + 4e6


def test_weights_are_packed_one_layer_at_a_time_and_all_are_kept() -> None:
    network = wide_network([8] * 5)
    kept, passing = packed_bytes(next(iter(convolutions(network))), Product())
    assert min(kept, passing) > 0
    assert weight_bytes(network, Product()) == 5 * kept + passing


def test_weights_are_not_packed_and_tables_not_made_where_they_do_not_fit() -> None:
    network = wide_network([8, 8])
    packing = weight_bytes(network, Product())
    needed = lower(network, Product(), kernel=Kernel.PORTABLE, keep=False).taken_bytes
    assert packing < needed
    for limit, refused in ((packing - 1, packing), (packing, needed), (needed - 1, needed)):
        with pytest.raises(InputError, match=f"would take {refused} bytes"):
            lower(
                network,
                Product(),
                kernel=Kernel.PORTABLE,
                keep=False,
                budget=Budget(network, limit),
            )


def test_what_is_beyond_the_limit_is_refused_before_it_is_taken() -> None:
    network = wide_network([1000 + 2 * step for step in range(64)])
    images = random_images(network, 1, seed=0)
    with peak_memory() as peak, pytest.raises(InputError) as caught:
        simulate(network, images)
    assert "simulating wide would take 2" in str(caught.value)
    assert str(caught.value).endswith("more than the memory limit of 2147487744")
    assert default_memory_limit(network) == (2 << 30) + 64 * 64 == 2147487744
    assert peak[0] < 20e6


@pytest.mark.parametrize("limit", [0, -1, True, 1.5])
def test_a_limit_is_a_number_of_bytes(limit: int) -> None:
    with pytest.raises(InputError, match="memory limit must be an integer of at least 1"):
        Budget(wide_network([8]), limit)


def test_threads_that_were_not_asked_for_are_fewer_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asq_hw.sim.engine._default_threads", lambda: 64)
    network = network_of_every_kind()
    images = random_images(network, 64, seed=0)
    free = Run(network, images, product=Product(), kernel="portable")
    assert free.fitting_threads(None, 1) == 64
    limit = free.plan.taken_bytes + 2_000_000
    short = Run(network, images, product=Product(), kernel="portable", memory_limit=limit)
    assert 1 <= short.fitting_threads(None, 1) < 64
    with pytest.raises(InputError, match="more than the memory limit"):
        short.fitting_threads(64, 1)


@pytest.mark.parametrize(("threads", "batch"), [(3_000_000_000, 1), (0, 1), (1, 0), (1, 1 << 31)])
def test_threads_and_images_have_a_range(threads: int, batch: int) -> None:
    network = wide_network([8])
    images = random_images(network, 1, seed=0)
    with pytest.raises(InputError, match=r"must be an integer in 1\.\."):
        simulate(network, images, threads=threads, batch_size=batch)
