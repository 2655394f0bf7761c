"""A network in training that computes in the integers which it will be exported to.

A network of few bits makes much of little: a value beside a rounding boundary that falls to the
other side is another code, which moves those behind it over theirs. So the integers of a sound
network predict another class for a few images in a hundred, however fine their formats are. Where
the network has computed in them already, nothing is left to differ: each operation's output is that
of its integer layer, and gradients pass as if it were the floating-point one's. Yao et al.,
"HAWQ-V3: Dyadic Neural Network Quantization", arXiv:2011.10680, train with integer arithmetic
alone, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import Layer
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.widths import FEATURE_BITS
from asq_hw.train.export.calibration import Calibration
from asq_hw.train.export.exporter import Exporter
from asq_hw.train.export.formats import feature_formats, reach_of_pixels
from asq_hw.train.export.reference import run_layer
from asq_hw.train.graph.execution import alike, apply
from asq_hw.train.graph.operation import TracedNetwork
from asq_hw.train.graph.operations import trace
from asq_hw.train.modes import evaluation_mode

__all__ = ["compute_in_integers", "in_floating_point", "ranges_of", "trained_product"]


def compute_in_integers(model: nn.Module, ranges: Calibration, images: ImageSpec) -> None:
    """Let a network compute in integers from now on.

    Parameters
    ----------
    model : nn.Module
        A converted network whose scales have started.
    ranges : Calibration
        What its values reach, from which the number formats follow; it stays that way whatever
        the network learns (`ranges_of`).
    images : ImageSpec
        What the network takes.

    Raises
    ------
    InputError
        If export would refuse the network, `ranges` are of another one, or it returns several
        tensors.
    """
    with evaluation_mode(model):
        traced = trace(model)
    if len(traced.results) != 1:
        raise InputError(
            "integer_epochs must be 0 for a network that returns several tensors, as this one does"
        )
    _check(traced, ranges)
    model.forward = _IntegerForward(model, traced, ranges, images)


def ranges_of(model: nn.Module) -> Calibration | None:
    """The ranges of a network that computes in integers; None for another one."""
    forward = vars(model).get("forward")
    return forward.ranges if isinstance(forward, _IntegerForward) else None


@contextmanager
def in_floating_point(model: nn.Module) -> Iterator[None]:
    """Let a network compute in floating point for a while."""
    forward = vars(model).get("forward")
    if not isinstance(forward, _IntegerForward):  # somebody else's stays
        yield
        return
    del model.forward
    try:
        yield
    finally:
        model.forward = forward


def trained_product(traced: TracedNetwork) -> Product:
    """How products with the square root of two are made in a network's layers."""
    weighted = [one.weighted for one in traced.operations if one.weighted is not None]
    if any(layer.has_odd_codes for layer in weighted):
        return Product(kind=ProductKind.POST_DUAL)
    return Product(kind=ProductKind.POST_SPLIT)


def _check(traced: TracedNetwork, ranges: Calibration) -> None:
    channels = {
        operation.name: None if operation.weighted is None else len(operation.weighted.weight)
        for operation in traced.operations
    }
    if channels.keys() != ranges.low.keys() or any(
        count not in (None, len(ranges.low[name])) for name, count in channels.items()
    ):
        raise InputError("the ranges of the integers must be those of the network's operations")


class _IntegerForward:
    """Takes the place of a network's ``forward``."""

    def __init__(
        self, model: nn.Module, traced: TracedNetwork, ranges: Calibration, images: ImageSpec
    ) -> None:
        self.ranges = ranges
        self._model, self._traced, self._images = model, traced, images
        self._formats = feature_formats(
            traced.operations, ranges, FEATURE_BITS, reach_of_pixels(images)
        )
        self._product = trained_product(traced)
        self._last_reader = {
            source: index
            for index, operation in enumerate(traced.operations)
            for source in operation.sources
        }
        self._made: dict[str, Layer] = {}
        self._made_of: tuple[int, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        made: dict[str, Tensor] = {}
        integers: dict[str, Tensor] = {}
        steps: dict[str, Tensor] = {}
        layers = self._layers()
        for index, operation in enumerate(self._traced.operations):
            real = apply(operation, alike([made[name] for name in operation.sources]) or [x])
            # In single precision they take half the memory.
            sources = [integers[name].double() for name in operation.sources] or [self._pixels(x)]
            form = self._formats[operation.name]
            with torch.no_grad():
                exact = run_layer(
                    layers[operation.name], sources, form.bits, self._product, steps
                ).float()
                value = (exact * 2.0**-form.fraction_bits).reshape(real.shape).to(real)
            made[operation.name] = _StraightThrough.apply(real, value)  # type: ignore[no-untyped-call]
            integers[operation.name] = exact
            for name in operation.sources:
                if self._last_reader[name] == index:
                    integers.pop(name, None)
        (result,) = self._traced.results.values()
        return made[result]

    def _layers(self) -> dict[str, Layer]:
        """The integer layers of the weights as they are now; the others never change."""
        tensors = chain(self._model.parameters(), self._model.buffers())
        now = tuple(tensor._version for tensor in tensors)
        if now != self._made_of:
            exporter = Exporter(formats=self._formats, ranges=self.ranges, images=self._images)
            for operation in self._traced.operations:
                if operation.name not in self._made or operation.weighted is not None:
                    self._made[operation.name] = exporter.layer(operation)
            self._made_of = now
        return self._made

    def _pixels(self, x: Tensor) -> Tensor:
        """The nearest integers of values as the network takes them, (N, C, H, W)."""
        form = self._images.format
        assert form.step is not None
        values = x.detach().double().cpu().reshape(len(x), *self._images.shape)
        mean, std = (
            torch.tensor(numbers, dtype=torch.float64)[:, None, None]
            for numbers in (self._images.mean, self._images.std)
        )
        return ((values * std + mean) / float(form.step)).round().clamp(form.low, form.high)


class _StraightThrough(torch.autograd.Function):
    """One value in another one's place, which gets its gradient."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, value: Tensor) -> Tensor:
        del ctx, real
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None
