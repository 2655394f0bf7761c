"""A randomly weighted integer network of ResNet-20's shape, for measuring speed alone."""

from __future__ import annotations

import math

import numpy as np

from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, Conv, GlobalAveragePool, Input, Layer, Linear, Relu
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, UNIFORM, Scheme

__all__ = ["random_resnet20"]

_FORMAT = FeatureFormat(bits=16, fraction_bits=10)
_SPREAD = 2048
"""Standard deviation that every feature map is scaled to, roughly."""
_STEP_FRACTION_BITS = 4
_STEP = _SPREAD * 2**_STEP_FRACTION_BITS // 7
"""Usual step: 4-bit codes then reach twice the spread."""
_MULTIPLIER = 20000


class _Builder:
    def __init__(self, seed: int, scheme: Scheme, bits: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.grid = Grid(scheme=scheme, bits=bits)
        self.bits = bits
        self.layers: list[Layer] = []

    def quantizer(self, channels: int, size: int, *, signed: bool) -> ActivationQuantizer:
        hidden = max(channels // 4, 1)
        stages = (
            AdapterStage(
                weight=self.rng.integers(-127, 128, (hidden, channels)),
                bias=self.rng.integers(-(2**15), 2**15, hidden),
                multiplier=2**15,
                shift=22,
                minimum=0,
                maximum=65535,
            ),
            AdapterStage(
                weight=self.rng.integers(-127, 128, (1, hidden)),
                bias=np.array([_STEP << 6]),
                multiplier=2**15,
                shift=21,
                minimum=_STEP // 2,
                maximum=_STEP * 2,
            ),
        )
        step = AdaptiveStep(
            pool_multiplier=max(round(2**15 / size), 1), pool_shift=15, stages=stages
        )
        grid = Grid(scheme=UNIFORM, bits=self.bits, signed=signed)
        return ActivationQuantizer(grid=grid, step=step, step_fraction_bits=_STEP_FRACTION_BITS)

    def requantization(self, inputs: int) -> dict[str, int]:
        """Shifts that bring the usual dot product to the usual spread."""
        values = [level.value * 2**self.grid.shift for level in self.grid.levels]
        spread = math.sqrt(inputs * np.square(values).mean() * 4.0**2)
        narrowed = _STEP * _MULTIPLIER / 2**12
        shift = round(math.log2(spread * narrowed / _SPREAD))
        return {"narrow_shift": 12, "shift": max(shift, 0)}

    def conv(
        self, name: str, source: str, shape: tuple[int, int, int, int], size: int, stride: int
    ) -> str:
        codes = self.rng.choice([level.code for level in self.grid.levels], shape)
        layer = Conv(
            name=name,
            source=source,
            quantizer=self.quantizer(shape[1], size * size, signed=source == "input"),
            weight_grid=self.grid,
            weight_codes=codes.astype(np.uint16),
            multiplier=self.rng.integers(_MULTIPLIER * 3 // 4, _MULTIPLIER * 5 // 4, shape[0]),
            bias=self.rng.integers(-_SPREAD, _SPREAD, shape[0]),
            output=_FORMAT,
            stride=(stride, stride),
            padding=(shape[2] // 2, shape[3] // 2),
            **self.requantization(int(np.prod(shape[1:]))),
        )
        self.layers.append(layer)
        return name

    def relu(self, name: str, source: str) -> str:
        self.layers.append(Relu(name=name, source=source))
        return name

    def block(self, name: str, source: str, channels: tuple[int, int], size: int) -> str:
        inputs, outputs = channels
        stride = outputs // inputs
        first = self.conv(f"{name}.conv1", source, (outputs, inputs, 3, 3), size, stride)
        first = self.relu(f"{name}.relu1", first)
        size = -(-size // stride)
        second = self.conv(f"{name}.conv2", first, (outputs, outputs, 3, 3), size, 1)
        if stride > 1:
            size *= stride
            source = self.conv(f"{name}.shortcut", source, (outputs, inputs, 1, 1), size, stride)
        self.layers.append(Add(name=f"{name}.add", sources=(second, source)))
        return self.relu(f"{name}.relu2", f"{name}.add")


def random_resnet20(
    *, seed: int = 0, size: int = 28, scheme: Scheme = POST, bits: int = 4
) -> IntegerNetwork:
    """ResNet-20 of widths 16, 32, 64 for gray images, random in everything but its shape."""
    builder = _Builder(seed, scheme, bits)
    builder.layers.append(
        Input(
            name="input",
            height=size,
            width=size,
            multiplier=np.array([48]),
            offset=np.array([-4096]),
            shift=0,
            output=_FORMAT,
        )
    )
    source = builder.relu("relu1", builder.conv("conv1", "input", (16, 1, 3, 3), size, 1))
    inputs = 16
    for stage, outputs in enumerate((16, 32, 64), start=1):
        for number in range(3):
            source = builder.block(f"stage{stage}.{number}", source, (inputs, outputs), size)
            size = -(-size * inputs // outputs)
            inputs = outputs
    builder.layers.append(
        GlobalAveragePool(name="pool", source=source, multiplier=round(2**16 / size**2), shift=16)
    )
    codes = builder.rng.choice([level.code for level in builder.grid.levels], (10, inputs))
    builder.layers.append(
        Linear(
            name="fc",
            source="pool",
            quantizer=builder.quantizer(inputs, 1, signed=False),
            weight_grid=builder.grid,
            weight_codes=codes.astype(np.uint16),
            multiplier=np.full(10, _MULTIPLIER),
            bias=np.zeros(10, dtype=np.int64),
            output=_FORMAT,
            **builder.requantization(inputs),
        )
    )
    return IntegerNetwork(name="random_resnet20", layers=tuple(builder.layers))
