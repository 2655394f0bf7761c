"""Whether an integer network computes what the trained one does.

Comparing only the two networks' scores would be blunt: where a value lies beside a rounding
boundary, an error of any size turns it into the next code, and the layers behind it make more of
it, so that the scores of a sound network of two bits can differ much on a few images. The
comparison is therefore made where nothing adds up, and still covers the whole:

1. The operations that were read from the network, computed one after the other in floating
   point, must give the network's own scores. They are the same functions of the same numbers, so
   there is nothing to allow for.
2. Each integer layer must give what its operation does in floating point on the *same* input,
   the integer network's own feature maps on the calibration images. In every channel the root
   mean square of the difference may be `TOLERANCE` of the standard deviation (the channel's or the
   whole feature map's, whichever is larger), and two units of the integers.

So each layer is held against its trained twin, and their order against the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.train.data.pixels import GivenIntegers
from asq_hw.train.export.reference import run_layer
from asq_hw.train.graph.execution import alike, apply
from asq_hw.train.graph.operation import Operation, TracedNetwork
from asq_hw.train.graph.results import named

__all__ = ["COMPARED_IMAGES", "TOLERANCE", "compare"]

COMPARED_IMAGES = 32
"""So many of the calibration images are compared, at even distances."""
TOLERANCE = 0.15
"""Codes that fall to the other side of a rounding boundary cost a few hundredths."""

_UNITS = 2.0
_SAME_SCORES = 1e-4
"""Part of the largest score by which the order of a sum may move scores."""
_BATCH = 8
"""Images that are compared together,"""
_PIXELS = 1 << 18
"""and no more than have so many pixels: all of their feature maps are held, in double precision."""


@dataclass(slots=True)
class _Moments:
    """Sums over all images, by channel."""

    count: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))
    errors: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, expected: Tensor, found: Tensor) -> None:
        axes = (0, 2, 3)
        self.count += expected.numel() // expected.shape[1]
        self.sums = self.sums + expected.sum(axes)
        self.squares = self.squares + expected.square().sum(axes)
        self.errors = self.errors + (found - expected).square().sum(axes)

    def rms_error(self) -> Tensor:
        """Root mean square of each channel's difference."""
        return (self.errors / self.count).sqrt()

    def deviation(self) -> Tensor:
        """Standard deviation of each channel, or of the whole map if that is larger."""
        mean, square = self.sums / self.count, self.squares / self.count
        own = (square - mean.square()).clamp(min=0).sqrt()
        whole = (square.mean() - mean.mean().square()).clamp(min=0).sqrt()
        return torch.maximum(own, whole)


@torch.inference_mode()
def compare(
    model: nn.Module,
    traced: TracedNetwork,
    network: IntegerNetwork,
    calibration: GivenIntegers,
) -> None:
    """Make sure that an integer network follows the trained one on the calibration images.

    Parameters
    ----------
    model : nn.Module
        The trained network, in evaluation mode.
    traced : TracedNetwork
        What was read from it.
    network : IntegerNetwork
        One layer for each operation.
    calibration : GivenIntegers
        The images, and how the trained network sees them.

    Raises
    ------
    InputError
        If the operations do not give what the network returns, or a layer is not close to its
        operation; the message names it.
    """
    operations = traced.operations
    units = {name: 2.0**-made.format.fraction_bits for name, made in network.feature_maps().items()}
    moments = {operation.name: _Moments() for operation in operations}
    parameter = next(model.parameters())
    for chosen in _batches(calibration):
        x = calibration.values(chosen).to(parameter)
        _check_results(named(model(x)), traced, _run(operations, x))
        maps = _integer_maps(network, torch.from_numpy(calibration.integers[chosen].copy()))
        for operation, layer in zip(operations, network.layers, strict=True):
            sources = [(maps[name] * units[name]).to(parameter) for name in operation.sources]
            expected = apply(operation, sources or [x]).double().cpu()
            found = maps[layer.name] * units[layer.name]
            moments[operation.name].add(expected.reshape(found.shape), found)
    for name, moment in moments.items():
        _check_layer(name, moment, units[name])


def _batches(calibration: GivenIntegers) -> Iterator[NDArray[np.int64]]:
    """Places of up to `COMPARED_IMAGES` of the images, at even distances."""
    count = min(len(calibration), COMPARED_IMAGES)
    chosen = np.linspace(0, len(calibration) - 1, count).round().astype(np.int64)
    batch_size = max(1, min(_BATCH, _PIXELS // calibration.integers[:1].size))
    for start in range(0, count, batch_size):
        yield chosen[start : start + batch_size]


def _check_results(
    returned: Mapping[str, Tensor], traced: TracedNetwork, made: Mapping[str, Tensor]
) -> None:
    """Hold what a network returns against its operations' outputs."""
    for name, operation in traced.results.items():
        trained, read = returned[name].flatten(1), made[operation].flatten(1)
        allowed = _SAME_SCORES * float(trained.abs().max())
        if trained.shape != read.shape or not float((trained - read).abs().max()) <= allowed:
            what = name if len(returned) > 1 else "scores"
            raise InputError(
                "the network computes something else than was read from it: its operations, one "
                f"after the other, do not give its {what}; a forward hook or a change in place is "
                "in the way"
            )


def _check_layer(name: str, moment: _Moments, unit: float) -> None:
    error, deviation = moment.rms_error(), moment.deviation()
    excess = error - (TOLERANCE * deviation + _UNITS * unit)
    worst = int(excess.argmax())
    if not float(excess[worst]) <= 0:
        share = float(error[worst] / deviation[worst]) if float(deviation[worst]) else math.inf
        raise InputError(
            f"{name}: the integers are not close to the trained layer: channel {worst} is off by "
            f"{share:.2g} standard deviations on the calibration images, and at most {TOLERANCE} "
            "are allowed"
        )


def _run(operations: Sequence[Operation], x: Tensor) -> dict[str, Tensor]:
    """Every operation's output in floating point."""
    made: dict[str, Tensor] = {}
    for operation in operations:
        sources = alike([made[name] for name in operation.sources])
        made[operation.name] = apply(operation, sources or [x])
    return made


def _integer_maps(network: IntegerNetwork, pixels: Tensor) -> dict[str, Tensor]:
    """Every layer's integers."""
    formats = {name: made.format for name, made in network.feature_maps().items()}
    maps: dict[str, Tensor] = {}
    steps: dict[str, Tensor] = {}
    for layer in network.layers:
        sources = [maps[name] for name in layer.source_names] or [pixels.double()]
        bits = formats[layer.name].bits
        maps[layer.name] = run_layer(layer, sources, bits, network.trained_product, steps)
    return maps
