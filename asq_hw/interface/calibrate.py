"""calibrate: a prepared network's scales from a few batches, without any training."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.interface.prepared import CALIBRATION_IMAGES, Prepared, prepared
from asq_hw.train.calibration import start_scales
from asq_hw.train.data.loaders import EvenSample, Loader, float_batches
from asq_hw.train.methods.adapting import StepStart

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
    quantized: nn.Module, loader: Loader, *, method: str = "mse", limit: int | None = None
) -> None:
    """Let every scale of a prepared network start from its weights and from images.

    Post-training quantization ends here; before training it is a good start. The images are seen
    once, one batch after the other, and memory does not grow with them. If anything is refused,
    nothing has changed.

    Parameters
    ----------
    quantized : nn.Module
        What `asq_hw.prepare` made; its modes stay as they are.
    loader : iterable
        Batches of images as the network takes them, float ``(N, C, H, W)``, or of pairs that begin
        with such a batch; a hundred images are many.
    method : {'mse', 'minmax'}
        Whether a scale has the least squared error, or clips nothing.
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
    if method not in list(CalibrationMethod):
        known = ", ".join(CalibrationMethod)
        raise InputError(f"method must be one of {known}, not {method!r}")
    kept = EvenSample(CALIBRATION_IMAGES)
    batches = _kept(loader, facts, kept, limit)
    start_scales(quantized, batches, CalibrationMethod(method).step_start)
    facts.images = kept.images()
    facts.take_shape(facts.images)


def _kept(loader: Loader, facts: Prepared, kept: EvenSample, limit: int | None) -> Iterator[Tensor]:
    """The loader's images, of which a few are kept."""
    for images, _ in float_batches(loader, shape=facts.shape, limit=limit):
        kept.add(images)
        yield images
