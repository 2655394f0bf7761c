"""compare: a network in floating point, with quantization, and in integers, layer by layer."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
from asq_hw.sim.tensors import TraceBatch
from asq_hw.train.calibration import is_calibrated
from asq_hw.train.data.loaders import Loader, check_labels, float_batches
from asq_hw.train.data.pixels import pixels_of
from asq_hw.train.graph.operations import Operation, trace
from asq_hw.train.graph.watching import Watched
from asq_hw.train.modes import evaluation_mode

__all__ = ["Comparison", "LayerSignal", "compare"]


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
class Comparison:
    """Three networks on the same images; shares are 0 to 1.

    Parameters
    ----------
    images : int
        How many.
    float_top1, quantized_top1, integer_top1 : float or None
        Images that are classified right; None without labels.
    quantized_agreement, integer_agreement : float
        Images that get the class which the floating-point network gives.
    integer_alone_agreement : float
        Images to which the integer network gives the class which the quantized one does.
    layers : tuple of LayerSignal
        In the order of execution.
    """

    images: int
    float_top1: float | None
    quantized_top1: float | None
    integer_top1: float | None
    quantized_agreement: float
    integer_agreement: float
    integer_alone_agreement: float
    layers: tuple[LayerSignal, ...]

    def __str__(self) -> str:
        """A table for a person."""
        accuracies = (
            ("float", self.float_top1),
            ("quantized", self.quantized_top1),
            ("integer", self.integer_top1),
        )
        known = [f"{what} {share:.2%}" for what, share in accuracies if share is not None]
        lines = [
            f"{self.images:,} images; top-1: {', '.join(known) or 'no labels'}",
            f"same class as in floating point: quantized {self.quantized_agreement:.2%}, "
            f"integer {self.integer_agreement:.2%}",
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
        operations = _operations(quantized, integers)
        runs = _Runs(operations, integers)
        networks: tuple[Watched, Watched] | None = None
        for images, labels in float_batches(loader, shape=integers.image_shape, limit=limit):
            if networks is None:
                networks = _watched(model, quantized, facts, images, operations)
            pixels = pixels_of(images, integers.images).numpy()
            x = images.to(device_of(quantized))
            runs.add(networks[0].values(x), networks[1].values(x), pixels, labels)
    return runs.result()


def _operations(quantized: nn.Module, network: IntegerNetwork) -> list[Operation]:
    operations = trace(quantized)
    if [operation.name for operation in operations] != [layer.name for layer in network.layers]:
        raise InputError(
            f"the integer network {network.name} must be that of the quantized network; "
            "its layers are others"
        )
    return operations


def _watched(
    model: nn.Module,
    quantized: nn.Module,
    facts: Prepared,
    images: Tensor,
    operations: Sequence[Operation],
) -> tuple[Watched, Watched]:
    """The floating-point network in the form of the quantized one, and that."""
    floating = floating_copy(model, images if facts.is_rewritten else None)
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

    operations: Sequence[Operation]
    network: IntegerNetwork
    powers: dict[str, _Powers] = field(default_factory=dict)
    classes: list[NDArray[np.int64]] = field(default_factory=list)
    labels: list[NDArray[np.int64]] = field(default_factory=list)

    def add(
        self,
        real: Mapping[str, Tensor],
        quantized: Mapping[str, Tensor],
        pixels: NDArray[np.uint8],
        labels: Tensor | None,
    ) -> None:
        units = {
            name: 2.0**-made.format.fraction_bits
            for name, made in self.network.feature_maps().items()
        }

        def see(batch: TraceBatch) -> None:
            part = slice(batch.start, batch.start + batch.samples)
            for operation in self.operations:
                name, node = operation.name, operation.node
                maps = torch.from_numpy(batch.tensors[name].astype(np.float64)) * units[name]
                floats, codes = (
                    values[node][part].double().cpu().flatten(1) for values in (real, quantized)
                )
                self.powers.setdefault(name, _Powers()).add(floats, codes, maps.flatten(1))

        result = sim.simulate(self.network, pixels, trace=see)
        last = self.operations[-1].node
        found = [values[last].flatten(1).argmax(1).cpu().numpy() for values in (real, quantized)]
        self.classes.append(np.stack([*found, result.predictions]))
        if labels is not None:
            check_labels(labels, result.scores.shape[1])
            self.labels.append(labels.numpy())

    def result(self) -> Comparison:
        real, quantized, integer = np.concatenate(self.classes, axis=1)
        labels = np.concatenate(self.labels) if self.labels else None
        top1 = [
            float((found == labels).mean()) if labels is not None else None
            for found in (real, quantized, integer)
        ]
        return Comparison(
            images=len(real),
            float_top1=top1[0],
            quantized_top1=top1[1],
            integer_top1=top1[2],
            quantized_agreement=float((quantized == real).mean()),
            integer_agreement=float((integer == real).mean()),
            integer_alone_agreement=float((integer == quantized).mean()),
            layers=tuple(
                LayerSignal(
                    name=layer.name,
                    kind=str(layer.kind),
                    quantized=_decibels(power.signal, power.quantized),
                    integer=_decibels(power.signal, power.integer),
                    integer_alone=_decibels(power.quantized_signal, power.alone),
                )
                for layer, power in zip(self.network.layers, self.powers.values(), strict=True)
            ),
        )


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
