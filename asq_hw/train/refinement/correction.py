"""The statistics that layers' outputs have in floating point, given back to a quantized network.

Bias correction: the mean of each output channel becomes that in floating point (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, section
4.2 and appendix D, empirically). Batch-norm re-estimation: so does the deviation, where there is
batch norm (Nagel et al., "Overcoming Oscillations in Quantization-Aware Training",
arXiv:2203.11086, section 4).

Both networks see the same images, so that what differs between images falls out of the difference.
Each layer is corrected, for the images at hand, before the next one computes; what is kept is the
mean over all batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asq_hw.train.calibration import AnyLayer, quantized_layers
from asq_hw.train.graph.operations import trace
from asq_hw.train.refinement.options import Correction

__all__ = ["Moments", "add_biases", "correct", "output_moments", "own_norms", "watched"]

_MOST_RATIO = 2.0
"""By which a deviation is corrected at most, either way; beyond that it is not known."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and biased variance of each channel of a layer's output, ``(O,)``."""

    mean: Tensor
    variance: Tensor


def output_moments(y: Tensor) -> Moments:
    """The moments of an output ``(N, O, ...)``."""
    variance, mean = torch.var_mean(y, dim=(0, *range(2, y.dim())), correction=0)
    return Moments(mean, variance)


@contextmanager
def watched(
    layers: Mapping[str, nn.Module], see: Callable[[str, Tensor, Tensor], Tensor | None]
) -> Iterator[None]:
    """Show what goes into layers and what comes out, which may be replaced, for a while."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor | None]:
        return lambda _, inputs, output: see(name, inputs[0], output)

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def own_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The batch norm behind each quantized layer, by the layer's name, where it is of no other."""
    found = {
        operation.weighted: operation.batch_norm
        for operation in trace(model).operations
        if operation.weighted is not None and operation.batch_norm is not None
    }
    uses = Counter(found.values())
    norms = {name: found.get(layer) for name, layer in quantized_layers(model).items()}
    return {name: norm for name, norm in norms.items() if norm is not None and uses[norm] == 1}


def add_biases(model: nn.Module) -> None:
    """Give each quantized layer a bias of zero, in place, if nothing holds its outputs' means."""
    norms = own_norms(model)
    for name, layer in quantized_layers(model).items():
        if layer.bias is None and name not in norms:
            layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)))


@torch.no_grad()
def correct(
    model: nn.Module,
    batches: Sequence[Tensor],
    wanted: Sequence[Mapping[str, Moments]],
    how: Correction,
) -> None:
    """Correct biases and statistics of batch norm, in place.

    Parameters
    ----------
    model : nn.Module
        A quantized network in evaluation mode, whose layers have biases (`add_biases`).
    batches : sequence of float tensors of shape (N, C, H, W)
        Images.
    wanted : sequence of dict
        What the layers' outputs are in floating point, for each of these batches.
    how : Correction
        What is corrected.
    """
    layers, norms = quantized_layers(model), own_norms(model)
    ratios: dict[str, list[Tensor]] = {name: [] for name in layers}
    shifts: dict[str, list[Tensor]] = {name: [] for name in layers}
    for images, aims in zip(batches, wanted, strict=True):

        def see(name: str, _: Tensor, y: Tensor, aims: Mapping[str, Moments] = aims) -> Tensor:
            seen, aim = output_moments(y), aims[name]
            norm = norms.get(name) if how is Correction.BATCH_NORM else None
            ratio = _ratio(seen, aim, norm)
            shift = aim.mean - ratio * seen.mean
            ratios[name].append(ratio)
            shifts[name].append(shift)
            along = (1, -1, *(1 for _ in y.shape[2:]))
            return y * ratio.view(along) + shift.view(along)

        with watched(layers, see):
            model(images)
    for name, layer in layers.items():
        if shifts[name]:
            ratio, shift = (torch.stack(parts[name]).mean(0) for parts in (ratios, shifts))
            _apply(layer, norms.get(name), ratio, shift)


def _ratio(seen: Moments, aim: Moments, norm: nn.BatchNorm2d | None) -> Tensor:
    """What a layer's outputs are multiplied by, ``(O,)``."""
    known = (seen.variance > 0) & (aim.variance > 0)
    if norm is None or norm.running_var is None:
        return torch.ones_like(seen.mean)
    ratio = (aim.variance / seen.variance).sqrt().clamp(1 / _MOST_RATIO, _MOST_RATIO)
    # Batch norm divides by no less than its epsilon's root.
    most = (1 + norm.running_var / norm.eps).sqrt().to(ratio)
    return torch.where(known, torch.minimum(ratio, most), torch.ones_like(ratio))


def _apply(layer: AnyLayer, norm: nn.BatchNorm2d | None, ratio: Tensor, shift: Tensor) -> None:
    """Let what stands behind a layer's sums multiply by a ratio and add a shift."""
    if norm is None:
        assert layer.bias is not None
        layer.bias.add_(shift)
        return
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.sub_(shift).div_(ratio)
    norm.running_var.add_(norm.eps).div_(ratio.square()).sub_(norm.eps).clamp_(min=0)
