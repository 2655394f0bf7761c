"""Functions of single values as tables, products of maps, and the formats that they get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import asq_hw
from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Lookup, Multiply
from asq_hw.train.export.tables import integer_lookup
from asq_hw.train.graph.conversion import layer_roles
from asq_hw.train.graph.operations import trace
from asq_hw.train.graph.pointwise import POINTWISE, ChannelScale

FINE = FeatureFormat(bits=16, fraction_bits=12)
"""From -8 to 8."""
MODULES: dict[str, nn.Module] = {
    **{kind.__name__: kind() for kind in POINTWISE if kind is not ChannelScale},
    "Hardtanh from below": nn.Hardtanh(-3.0, 0.7),
    "GELU by tanh": nn.GELU("tanh"),
    "PReLU of channels": nn.PReLU(3),
    "ChannelScale": ChannelScale(torch.tensor([0.3, -0.9, 0.01]), torch.tensor([0.5, 0.0, -7.5])),
}


def table(module: nn.Module, **formats: Any) -> Lookup:
    chosen = {"source_format": FINE, "output_format": FINE, "magnitude": 8.0} | formats
    return integer_lookup("f", "x", module, **chosen)


def values(made: Lookup, source: FeatureFormat, output: FeatureFormat) -> np.ndarray:
    """What a table gives for every integer, computed from its definition."""
    x = np.arange(-(2 ** (source.bits - 1)), 2 ** (source.bits - 1))
    place = (x - x[0]) / 2**made.shift
    lines = [np.interp(place, np.arange(len(row)), row) for row in made.values]
    top = 2 ** (output.bits - 1)
    return np.clip(np.floor(np.array(lines) + 0.5), -top, top - 1)


@pytest.mark.parametrize("name", MODULES)
def test_a_table_is_close_everywhere(name: str) -> None:
    module = MODULES[name]
    made = table(module)
    x = torch.arange(-32768, 32768).double() / 2**12
    with torch.no_grad():
        exact = module.double()(x.expand(1, len(made.values), -1))[0].numpy() * 2**12
    exact = np.clip(exact, -32768, 32767)
    assert np.abs(values(made, FINE, FINE) - exact).max() <= 8 + 1  # 8 units are 8 * 2**-12
    assert made.segments < 4096


@pytest.mark.parametrize(
    ("name", "segments"),
    [("LeakyReLU", 2), ("PReLU", 2), ("PReLU of channels", 2), ("ChannelScale", 1)],
)
def test_straight_functions_take_the_fewest_segments(name: str, segments: int) -> None:
    assert table(MODULES[name]).segments == segments


def test_a_finer_result_asks_for_more_segments() -> None:
    coarse, fine = (table(nn.SiLU(), magnitude=magnitude).segments for magnitude in (8.0, 0.1))
    assert coarse < fine


def test_a_table_reaches_beyond_its_output() -> None:
    """A factor of eight leaves the output's range on both sides, and stays straight inside."""
    scale = ChannelScale(torch.tensor([8.0]), torch.tensor([0.0]))
    made = table(scale)
    assert made.values.tolist() == [[-8 * 32768, 8 * 32768]]
    found = values(made, FINE, FINE)[0]
    assert found[32768 + 100] == 800 and found[0] == -32768 and found[-1] == 32767


def test_a_narrow_map_has_no_more_segments_than_values() -> None:
    narrow = FeatureFormat(bits=4, fraction_bits=1)
    made = table(nn.GELU(), source_format=narrow, magnitude=1e-3)
    assert made.segments <= 16 and made.segments << made.shift == 16


def test_a_function_that_is_not_finite_is_refused() -> None:
    broken = ChannelScale(torch.tensor([torch.inf]), torch.tensor([0.0]))
    with pytest.raises(InputError, match=r"f: ChannelScale must be finite from -8 to 8"):
        table(broken)


class Gated(nn.Module):
    """A map of small values that is the product of two large ones, which never meet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.head = nn.Linear(2, 2)
        nn.init.constant_(self.conv.weight, 300.0)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.head((y.relu() * (-y).relu()).mean((2, 3)))


def exported(model: nn.Module, x: Tensor) -> tuple[IntegerNetwork, Tensor]:
    quantized = asq_hw.prepare(model, x)
    asq_hw.calibrate(quantized, [x])
    return asq_hw.export(quantized, mean=0.5, std=0.25), quantized(x)


def drawn(channels: int = 1) -> Tensor:
    pixels = torch.randint(0, 256, (6, channels, 6, 6), generator=torch.Generator().manual_seed(1))
    return (pixels / 255 - 0.5) / 0.25


def test_a_product_of_what_never_meets_has_a_format() -> None:
    net, _ = exported(Gated(), drawn())
    (product,) = (layer for layer in net.layers if isinstance(layer, Multiply))
    maps = net.feature_maps()
    fractions = [maps[name].format.fraction_bits for name in product.sources]
    assert product.shift == 0 and product.output.fraction_bits == sum(fractions) < 15


class AsItStands(nn.Module):
    """Torch's own modules, without an example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.act = nn.Hardswish(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.gate = nn.Hardsigmoid()
        self.inner = nn.Conv2d(4, 4, 3, dilation=2)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        x = self.gate(self.squeeze(self.pool(x))) * x
        return self.head(self.flatten(self.inner(x)))


def test_torchs_modules_are_taken_as_they_stand() -> None:
    torch.manual_seed(2)
    model, x = AsItStands().eval(), drawn(2)
    roles = layer_roles(model)
    assert roles["inner"].signed_input and roles["squeeze"].signed_input
    quantized = asq_hw.prepare(model)
    assert [o.kind.name for o in trace(quantized).operations] == [
        "INPUT", "CONV", "LOOKUP", "GLOBAL_AVERAGE_POOL", "CONV", "LOOKUP", "MULTIPLY", "CONV",
        "FLATTEN", "LINEAR",
    ]  # fmt: skip
    asq_hw.calibrate(quantized, [x])
    net = asq_hw.export(quantized, mean=0.5, std=0.25)
    (product,) = (layer for layer in net.layers if isinstance(layer, Multiply))
    assert product.sources == ("act", "gate")  # the larger map comes first
    pixels = ((x * 0.25 + 0.5) * 255).round().to(torch.uint8).numpy()
    scores = oracle.run(net, pixels)["head"].reshape(6, 3)
    together = np.stack([scores.reshape(-1), quantized(x).detach().numpy().reshape(-1)])
    assert np.corrcoef(together)[0, 1] > 0.999
    assert np.array_equal(asq_hw.simulate(net, pixels).scores, scores)


class Signs(nn.Module):
    """Layers behind what is never negative, and behind what may be."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("a", "b", "c", "d", "e"):
            self.add_module(name, nn.Conv2d(1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.a(x))
        square = self.b(gate * x.relu())
        slope = self.c(gate * square)
        bend = self.d(nn.functional.leaky_relu(slope, 0.1))
        return self.e(bend.abs()).flatten(1)


def test_signs_are_proven_through_functions_and_products() -> None:
    report = asq_hw.check(Signs(), drawn())
    assert {layer.name: layer.signed_input for layer in report.layers} == {
        "a": True, "b": False, "c": True, "d": True, "e": False
    }  # fmt: skip
