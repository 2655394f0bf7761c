"""ASQ: LSQ's step times a factor that an adapter gives each sample (paper, Eq. 4-6)."""

from __future__ import annotations

from typing import assert_never

from asq_hw.train.methods.adapting import AdapterKind, AdapterSettings
from asq_hw.train.methods.method import ActivationSettings
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter, PaperAdapter
from asq_hw.train.quantizers.log_linear import LogLinearAdapter

__all__ = ["activation_quantizer", "make_adapter"]


def activation_quantizer(settings: ActivationSettings) -> ActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return ActivationQuantizer(
        bits=settings.bits,
        signed=settings.signed,
        step_start=settings.step_start,
        adapter=make_adapter(settings.channels, settings.adapter),
    )


def make_adapter(channels: int, settings: AdapterSettings) -> Adapter:
    """Make an adapter for a feature map of so many channels."""
    match settings.kind:
        case AdapterKind.PAPER:
            return PaperAdapter(channels, start=settings.start, ratio=settings.ratio)
        case AdapterKind.LOG_LINEAR:
            return LogLinearAdapter(channels, start=settings.start)
        case _:
            assert_never(settings.kind)
