"""calibrate: post-training quantization of a prepared network, from a few batches of images."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.interface.prepared import CALIBRATION_IMAGES, Prepared, prepared
from asq_hw.train.data.loaders import EvenSample, Loader, float_batches
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.recipes.values import choose
from asq_hw.train.refinement.options import Correction, PostTrainingSettings, Rounding
from asq_hw.train.refinement.refine import quantize_after_training

__all__ = ["CalibrationMethod", "calibrate"]


class CalibrationMethod(StrEnum):
    """Where scales of weights and activations start."""

    MSE = "mse"
    """Where the squared error is least."""
    MINMAX = "minmax"
    """Where nothing is clipped."""

    @property
    def step_start(self) -> StepStart:
        """What quantizers call it."""
        return StepStart.LEAST_SQUARES if self is CalibrationMethod.MSE else StepStart.MIN_MAX


def calibrate(
    quantized: nn.Module,
    loader: Loader,
    *,
    method: str = CalibrationMethod.MSE,
    equalize: bool = False,
    rounding: str = Rounding.NEAREST,
    correction: str = Correction.BATCH_NORM,
    limit: int | None = None,
) -> None:
    """Quantize a prepared network after its training: scales, levels and biases, from images.

    Post-training quantization ends here; before training it is a good start. The images are seen
    once, one batch after the other, and memory does not grow with them; a few are kept. A network
    can be calibrated anew: what an earlier call changed is taken back first, but for what was
    trained since. If anything is refused, nothing has changed.

    Parameters
    ----------
    quantized : nn.Module
        What `asq_hw.prepare` made; its modes stay as they are.
    loader : iterable
        Batches of images as the network takes them, float ``(N, C, H, W)``, or of pairs that begin
        with such a batch; a hundred images are many.
    method : {'mse', 'minmax'}
        Whether a scale has the least squared error, or clips nothing.
    equalize : bool
        Cross-layer equalization: bring channels between two layers to one range first, where only
        ReLU and pooling stand between them (arXiv:1906.04721, section 4.1).
    rounding : {'nearest', 'adaptive'}
        Whether each weight becomes the nearest level, or all of a layer's those with which its
        outputs change least (AdaRound's aim, arXiv:2004.10568, reached by coordinate descent,
        arXiv:2309.01885). It takes longer, and pays at less than 8 bits.
    correction : {'batch-norm', 'bias', 'none'}
        What is given back to the outputs of each layer at last: each channel's mean and, where
        there is batch norm, deviation (batch-norm re-estimation, arXiv:2203.11086), or the mean
        alone (bias correction, arXiv:1906.04721, section 4.2).
    limit : int, optional
        Stop after so many images.

    Raises
    ------
    InputError
        If the network is none of `asq_hw.prepare`, the loader yields nothing or what is no such
        batch, or a value is not finite.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from asq_hw.interface.prepare import prepare
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 8), nn.Flatten())
    >>> images = torch.rand(4, 3, 8, 8)
    >>> quantized = prepare(model, images)
    >>> calibrate(quantized, [images])
    >>> quantized(images).shape
    torch.Size([4, 8])
    """
    facts = prepared(quantized, "calibrate")
    if not isinstance(equalize, bool):
        raise InputError(f"equalize must be True or False, not {equalize!r}")
    how = PostTrainingSettings(
        scales=choose("method", method, CalibrationMethod).step_start,
        equalize=equalize,
        rounding=choose("rounding", rounding, Rounding),
        correction=choose("correction", correction, Correction),
    )
    kept = EvenSample(CALIBRATION_IMAGES)
    batches = _kept(loader, facts, kept, limit)
    facts.changed = quantize_after_training(
        quantized, batches, kept.images, how, earlier=facts.changed
    )
    facts.keep(kept)


def _kept(loader: Loader, facts: Prepared, kept: EvenSample, limit: int | None) -> Iterator[Tensor]:
    """The loader's images, of which a few are kept."""
    for images, _ in float_batches(loader, shape=facts.shape, limit=limit):
        kept.add(images)
        yield images
