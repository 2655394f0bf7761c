"""compare: a network in floating point, with quantization, and in integers, layer by layer."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw import sim
from asq_hw.errors import InputError
from asq_hw.interface.network import opened
from asq_hw.interface.prepare import floating_copy
from asq_hw.interface.prepared import Prepared, device_of, prepared
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.outputs import Output
from asq_hw.sim.tensors import TraceBatch
from asq_hw.train.calibration import is_calibrated
from asq_hw.train.data.loaders import Loader, check_labels, float_batches
from asq_hw.train.data.pixels import integers_of
from asq_hw.train.graph.operation import Operation, TracedNetwork
from asq_hw.train.graph.operations import trace
from asq_hw.train.graph.watching import Watched
from asq_hw.train.modes import evaluation_mode

__all__ = ["Comparison", "LayerSignal", "OutputSignal", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSignal:
    """How much of a layer's output is left, in decibels: signal power over noise power.

    Parameters
    ----------
    name, kind : str
        Of the integer layer.
    quantized : float
        Of the quantized network, beside the floating-point one; infinite where they are equal.
    integer : float
        Of the integer network, beside the floating-point one.
    integer_alone : float
        Of the integer network, beside the quantized one: what integers cost beyond quantization.
    """

    name: str
    kind: str
    quantized: float
    integer: float
    integer_alone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSignal:
    """How much of an output is left.

    Parameters
    ----------
    name : str
        Of the output.
    is_scores : bool
        Whether it is class scores.
    signal : LayerSignal
        Of the layer whose map it is.
    quantized_agreement, integer_agreement, integer_alone_agreement : float or None
        Share of the images' places whose largest channel is the same as in floating point, and of
        the integers as in the quantized network; None where there is one channel.
    """

    name: str
    is_scores: bool
    signal: LayerSignal
    quantized_agreement: float | None
    integer_agreement: float | None
    integer_alone_agreement: float | None

    def __str__(self) -> str:
        """One line for a person."""
        if self.quantized_agreement is None or self.integer_agreement is None:
            return (
                f"{self.name}: quantized {self.signal.quantized:.1f} dB, "
                f"integer {self.signal.integer:.1f} dB"
            )
        what = "same class" if self.is_scores else f"{self.name}: same largest channel"
        return (
            f"{what} as in floating point: quantized {self.quantized_agreement:.2%}, "
            f"integer {self.integer_agreement:.2%}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Three networks on the same images; shares are 0 to 1.

    Parameters
    ----------
    images : int
        How many.
    float_top1, quantized_top1, integer_top1 : float or None
        Images that are classified right; None without labels or class scores.
    quantized_agreement, integer_agreement : float or None
        Images that get the class which the floating-point network gives; None without class scores.
    integer_alone_agreement : float or None
        Images to which the integer network gives the class which the quantized one does.
    outputs : tuple of OutputSignal
        In the network's order.
    layers : tuple of LayerSignal
        In the order of execution.
    """

    images: int
    float_top1: float | None
    quantized_top1: float | None
    integer_top1: float | None
    quantized_agreement: float | None
    integer_agreement: float | None
    integer_alone_agreement: float | None
    outputs: tuple[OutputSignal, ...]
    layers: tuple[LayerSignal, ...]

    def __str__(self) -> str:
        """A table for a person."""
        accuracies = (
            ("float", self.float_top1),
            ("quantized", self.quantized_top1),
            ("integer", self.integer_top1),
        )
        known = [f"{what} {share:.2%}" for what, share in accuracies if share is not None]
        has_scores = any(output.is_scores for output in self.outputs)
        told = f"top-1: {', '.join(known) or 'no labels'}" if has_scores else "no class scores"
        lines = [
            f"{self.images:,} images; {told}",
            *map(str, self.outputs),
            f"{'layer':30} {'kind':>12} {'quantized':>10} {'integer':>10}  dB",
        ]
        lines += [
            f"{each.name:30} {each.kind:>12} {each.quantized:10.1f} {each.integer:10.1f}"
            for each in self.layers
        ]
        return "\n".join(lines)


@dataclass(slots=True)
class _Powers:
    """Sums of squares over all images."""

    signal: float = 0.0
    quantized_signal: float = 0.0
    quantized: float = 0.0
    integer: float = 0.0
    alone: float = 0.0

    def add(self, real: Tensor, quantized: Tensor, integer: Tensor) -> None:
        self.signal += float(real.square().sum())
        self.quantized_signal += float(quantized.square().sum())
        self.quantized += float((quantized - real).square().sum())
        self.integer += float((integer - real).square().sum())
        self.alone += float((integer - quantized).square().sum())


@dataclass(slots=True)
class _Alike:
    """Places of an output whose largest channels are the same, of all images."""

    places: int = 0
    quantized: int = 0
    integer: int = 0
    alone: int = 0

    def add(
        self, real: NDArray[np.int64], quantized: NDArray[np.int64], integer: NDArray[np.int64]
    ) -> None:
        self.places += real.size
        self.quantized += int((quantized == real).sum())
        self.integer += int((integer == real).sum())
        self.alone += int((integer == quantized).sum())

    def shares(self) -> tuple[float, float, float]:
        return tuple(  # type: ignore[return-value]  # of three
            same / self.places for same in (self.quantized, self.integer, self.alone)
        )


def compare(
    model: nn.Module,
    quantized: nn.Module,
    network: IntegerNetwork | str | os.PathLike[str],
    loader: Loader,
    *,
    limit: int | None = None,
) -> Comparison:
    """Hold a network, its quantized copy and its integers against each other.

    Parameters
    ----------
    model : nn.Module
        The network that `quantized` was made of; it is left as it is.
    quantized : nn.Module
        What `asq_hw.prepare` made, calibrated or trained; it is left as it is.
    network : IntegerNetwork, or path
        What `asq_hw.export` made of it, or a model file.
    loader : iterable
        Batches of images as `model` takes them, or of pairs of such and labels.
    limit : int, optional
        Stop after so many images.

    Raises
    ------
    InputError
        If the three are not one network, or the images do not fit it.
    """
    facts = prepared(quantized, "compare")
    if not is_calibrated(quantized):
        raise InputError("a network must be calibrated before it is compared")
    integers = opened(network)
    if integers.images is None:
        raise InputError("an integer network that does not tell its mean and std is not compared")
    with evaluation_mode(quantized):
        traced = _traced(quantized, integers)
        operations = traced.operations
        runs = _Runs(traced, integers)
        floating, fake = _watched(model, quantized, facts, operations)
        for images, labels in float_batches(loader, shape=facts.shape, limit=limit):
            pixels = integers_of(images, integers.images)
            x = images.to(device_of(quantized))
            runs.add(floating.values(x), fake.values(x), pixels, labels)
    return runs.result()


def _traced(quantized: nn.Module, network: IntegerNetwork) -> TracedNetwork:
    traced = trace(quantized)
    layers = [operation.name for operation in traced.operations]
    if layers != [layer.name for layer in network.layers] or [*traced.results.values()] != [
        output.layer for output in network.outputs
    ]:
        raise InputError(
            f"the integer network {network.name} must be that of the quantized network; "
            "its layers are others"
        )
    return traced


def _watched(
    model: nn.Module,
    quantized: nn.Module,
    facts: Prepared,
    operations: Sequence[Operation],
) -> tuple[Watched, Watched]:
    """The floating-point network in the form of the quantized one, and that."""
    floating = floating_copy(model, facts.example)
    nodes = [operation.node for operation in operations]
    try:
        return Watched(floating.to(device_of(quantized)).eval(), nodes), Watched(quantized, nodes)
    except LookupError as error:
        raise InputError(
            f"{type(model).__name__} must be what the quantized network was made of; "
            f"it has no {error.args[0]}"
        ) from None


@dataclass(slots=True)
class _Runs:
    """What is added up, batch by batch."""

    traced: TracedNetwork
    network: IntegerNetwork
    images: int = 0
    powers: dict[str, _Powers] = field(default_factory=dict)
    classes: list[NDArray[np.int64]] = field(default_factory=list)
    alike: dict[str, _Alike] = field(default_factory=dict)
    labels: list[NDArray[np.int64]] = field(default_factory=list)

    def add(
        self,
        real: Mapping[str, Tensor],
        quantized: Mapping[str, Tensor],
        pixels: NDArray[Any],
        labels: Tensor | None,
    ) -> None:
        units = {
            name: 2.0**-made.format.fraction_bits
            for name, made in self.network.feature_maps().items()
        }

        def see(batch: TraceBatch) -> None:
            part = slice(batch.start, batch.start + batch.samples)
            for operation in self.traced.operations:
                name, node = operation.name, operation.node
                maps = torch.from_numpy(batch.tensors[name].astype(np.float64)) * units[name]
                floats, codes = (
                    values[node][part].double().cpu().flatten(1) for values in (real, quantized)
                )
                self.powers.setdefault(name, _Powers()).add(floats, codes, maps.flatten(1))

        result = sim.simulate(self.network, pixels, trace=see)
        self.images += result.images
        nodes = {operation.name: operation.node for operation in self.traced.operations}
        for output in self.network.outputs:
            maps = [values[nodes[output.layer]].cpu().numpy() for values in (real, quantized)]
            largest = [values.argmax(1) for values in (*maps, result.outputs[output.name].integers)]
            each = np.stack([found.reshape(result.images, -1) for found in largest])
            self.alike.setdefault(output.name, _Alike()).add(*each)
            if output.is_scores:
                self.classes.append(each[:, :, 0])
        if labels is not None and self.network.scores is not None:
            check_labels(labels, self.network.score_count)
            self.labels.append(labels.numpy())

    def result(self) -> Comparison:
        top1: list[float | None] = [None, None, None]
        if self.labels:
            labels = np.concatenate(self.labels)
            classes = np.concatenate(self.classes, axis=1)
            top1 = [float((found == labels).mean()) for found in classes]
        signals = {
            layer.name: LayerSignal(
                name=layer.name,
                kind=str(layer.kind),
                quantized=_decibels(power.signal, power.quantized),
                integer=_decibels(power.signal, power.integer),
                integer_alone=_decibels(power.quantized_signal, power.alone),
            )
            for layer, power in zip(self.network.layers, self.powers.values(), strict=True)
        }
        outputs = tuple(
            self._output(output, signals[output.layer]) for output in self.network.outputs
        )
        scores = next((output for output in outputs if output.is_scores), None)
        return Comparison(
            images=self.images,
            float_top1=top1[0],
            quantized_top1=top1[1],
            integer_top1=top1[2],
            quantized_agreement=None if scores is None else scores.quantized_agreement,
            integer_agreement=None if scores is None else scores.integer_agreement,
            integer_alone_agreement=None if scores is None else scores.integer_alone_agreement,
            outputs=outputs,
            layers=tuple(signals.values()),
        )

    def _output(self, output: Output, signal: LayerSignal) -> OutputSignal:
        channels = self.network.feature_maps()[output.layer].shape[0]
        shares = self.alike[output.name].shares() if channels > 1 else (None, None, None)
        return OutputSignal(
            name=output.name,
            is_scores=output.is_scores,
            signal=signal,
            quantized_agreement=shares[0],
            integer_agreement=shares[1],
            integer_alone_agreement=shares[2],
        )


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
