"""Choices of post-training quantization; none needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from asq_hw.train.methods.adapting import StepStart

__all__ = ["Correction", "PostTrainingSettings", "Rounding"]


class Rounding(StrEnum):
    """Which level a weight becomes."""

    NEAREST = "nearest"
    """The nearest one."""
    ADAPTIVE = "adaptive"
    """The one with which the layer's outputs change least."""


class Correction(StrEnum):
    """What makes up for what quantization does to the statistics of a layer's outputs."""

    NONE = "none"
    """Nothing."""
    BIAS = "bias"
    """Biases, or batch norm's means: the mean of each channel is that in floating point."""
    BATCH_NORM = "batch-norm"
    """The same, and where there is batch norm the deviation of each channel, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTrainingSettings:
    """How a trained network is quantized without training.

    Parameters
    ----------
    scales : StepStart
        Where scales of weights and activations lie.
    equalize : bool
        Whether channels between two layers are brought to one range first.
    rounding : Rounding
        Which level a weight becomes.
    correction : Correction
        What is corrected at last.
    """

    scales: StepStart = StepStart.LEAST_SQUARES
    equalize: bool = False
    rounding: Rounding = Rounding.NEAREST
    correction: Correction = Correction.BATCH_NORM
