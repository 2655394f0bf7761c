"""How far each image's best step is from the one for all, and what knowing it would save.

Errors are squared differences between a layer's input and its quantized input, summed over an
image. Whatever is fitted is fitted on every other image, and measured on those between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.evaluation import predict
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import channel_means

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LayerInputs", "adapting_frame", "decibels", "layer_inputs", "measure_adapting"]

_OCTAVES, _IN_AN_OCTAVE = 2, 16
_SHIFTS = np.arange(-_OCTAVES * _IN_AN_OCTAVE, _OCTAVES * _IN_AN_OCTAVE + 1) / _IN_AN_OCTAVE
"""Candidates for a step, as powers of two times the learned one."""
_RIDGE = 1e-2
"""Of the predictor, in units of the standardized means' variance."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInputs:
    """What one quantizer met in a pass over N images.

    Parameters
    ----------
    errors : float64 array of shape (N, candidates)
        Squared error of each image with each candidate, the same steps for all.
    adapted : float64 array of shape (N, candidates)
        The same with each candidate times the image's beta.
    means : float64 array of shape (N, C)
        Means of the input's channels.
    beta : float64 array of shape (N,)
        What the adapter gave; 1 where there is none.
    """

    errors: Floats
    adapted: Floats
    means: Floats
    beta: Floats


def layer_inputs(
    model: nn.Module, dataset: Dataset | ImageFolder, layer: str, change: ImageChange | None = None
) -> LayerInputs:
    """Run images through a network and measure the input of one layer.

    Raises
    ------
    InputError
        If there is no such layer, or its input is not quantized with one learned step.
    """
    modules = dict(model.named_modules())
    quantizer = getattr(modules.get(layer), "activation_quantizer", None)
    if not isinstance(quantizer, ActivationQuantizer):
        raise InputError(f"layer {layer!r} must be one whose input has a learned step")
    parts: list[tuple[Tensor, ...]] = []

    def see(module: ActivationQuantizer, inputs: tuple[Tensor]) -> None:
        x = inputs[0]
        beta = torch.ones(len(x)) if module.adapter is None else module.adapter(x)
        fixed, adapted = (
            torch.stack([_errors(module, x, steps * 2.0**shift) for shift in _SHIFTS], 1)
            for steps in (module.step().expand(len(x)), module.step() * beta)
        )
        parts.append((fixed, adapted, channel_means(x).double(), beta.double()))

    handle = quantizer.register_forward_pre_hook(see)
    try:
        predict(model, dataset, change=change)
    finally:
        handle.remove()
    errors, adapted, means, beta = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return LayerInputs(errors=errors, adapted=adapted, means=means, beta=beta)


def _errors(quantizer: ActivationQuantizer, x: Tensor, steps: Tensor) -> Tensor:
    """Squared error of each image with its step, ``(N,)``."""
    grid, steps = quantizer.grid, steps.view(-1, *(1 for _ in x.shape[1:]))
    rounded = (x / steps).round_().clamp_(grid.minimum, grid.maximum).mul_(steps)
    return (rounded - x).flatten(1).double().square().sum(1)


def adapting_frame(fitted: LayerInputs, measured: LayerInputs) -> pd.DataFrame:
    """Compare an image's best step with what foretells it.

    Parameters
    ----------
    fitted : LayerInputs
        Images of which every other one is fitted to.
    measured : LayerInputs
        The same images, or these changed; those between are measured.

    Returns
    -------
    DataFrame
        For each image that is measured ``best`` and ``beta``, both as powers of two over the one
        step for all; and its error with the one step for all (``constant``), its own best one
        (``oracle``), what a linear function of the means foretells (``predictor``), and beta times
        a constant (``adapter``).
    """
    import pandas as pd

    known, asked = slice(0, None, 2), slice(1, None, 2)
    constant = int(fitted.errors[known].sum(0).argmin())
    errors = measured.errors[asked]
    rows = np.arange(len(errors))

    def at(places: NDArray[np.int64]) -> Floats:
        found: Floats = errors[rows, places.clip(0, len(_SHIFTS) - 1)]
        return found

    foretold = _predictor(fitted.means[known], fitted.errors[known].argmin(1))
    level = int(fitted.adapted[known].sum(0).argmin())
    best = errors.argmin(1)
    return pd.DataFrame(
        {
            "best": (best - constant) / _IN_AN_OCTAVE,
            "beta": np.log2(measured.beta[asked]) + (level - constant) / _IN_AN_OCTAVE,
            "constant": errors[:, constant],
            "oracle": at(best),
            "predictor": at(foretold(measured.means[asked])),
            "adapter": measured.adapted[asked][:, level],
        }
    )


def _predictor(means: Floats, best: NDArray[np.int64]) -> _Linear:
    """Fit the best candidate's place by a ridge regression on standardized channel means."""
    center, scale = means.mean(0), means.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (means - center) / scale
    ridge = _RIDGE * len(z) * np.eye(z.shape[1])
    slopes = np.linalg.solve(z.T @ z + ridge, z.T @ (best - best.mean()))
    return _Linear(center=center, slopes=slopes / scale, level=float(best.mean()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    center: Floats
    slopes: Floats
    level: float

    def __call__(self, means: Floats) -> NDArray[np.int64]:
        return np.rint(self.level + (means - self.center) @ self.slopes).astype(np.int64)


def decibels(frame: pd.DataFrame, what: str) -> float:
    """Return how many decibels less error than one step for all makes, over all images."""
    return float(10 * np.log10(frame["constant"].sum() / frame[what].sum()))


def measure_adapting(
    checkpoint: Path,
    *,
    layers: Sequence[str],
    change: ImageChange,
    images: int,
    data: str | None = None,
) -> pd.DataFrame:
    """Measure layers of a trained network on plain and on changed test images.

    Returns
    -------
    DataFrame
        The columns of `adapting_frame`, ``layer``, and ``images``: ``plain`` or ``changed``.
    """
    import pandas as pd

    from asq_hw.train.checkpoints import checkpoint as checkpoints
    from asq_hw.train.data.trained_images import images_of, open_as_trained

    trained = checkpoints.load(checkpoint)
    model = trained.build_model()
    dataset = open_as_trained(data or trained.recipe.dataset, images_of(trained)).sample(images)
    frames = []
    for layer in layers:
        plain = layer_inputs(model, dataset, layer)
        for kind, seen in (
            ("plain", plain),
            ("changed", layer_inputs(model, dataset, layer, change)),
        ):
            frames.append(adapting_frame(plain, seen).assign(layer=layer, images=kind))
    return pd.concat(frames, ignore_index=True)
