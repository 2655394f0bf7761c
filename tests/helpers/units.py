"""A unit of every kind that ``asq-hw rtl`` writes, and of every way that the kinds are built."""

from __future__ import annotations

import numpy as np

from asq_hw.network.activation import AdapterStage
from rtl.design import Design
from rtl.lib.cells import ECP5_CELLS
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.requantizer import Requantizer
from rtl.quantizer.serial_adapter import SerialAdapter
from rtl.quantizer.shift import ShiftQuantizer

__all__ = ["UNITS", "two_stage_adapter"]


def two_stage_adapter(*, first_weight: int = 7) -> Adapter:
    """Three means, two hidden values, one step."""
    hidden = AdapterStage(
        weight=np.array([[first_weight, -20, 31], [-9, 64, 2]]),
        bias=np.array([100, -200]),
        multiplier=300,
        shift=6,
        minimum=0,
        maximum=65535,
    )
    last = AdapterStage(
        weight=np.array([[5, 11]]),
        bias=np.array([4000]),
        multiplier=500,
        shift=12,
        minimum=3,
        maximum=65535,
    )
    return Adapter(stages=(hidden, last), layer="layer1.0.conv1")


UNITS: tuple[Design, ...] = (
    *(Mac(scheme=scheme) for scheme in ("uniform", "pot", "apot", "post-lut", "post-split")),
    Mac(scheme="symmetric", clear="ahead", cells=ECP5_CELLS),
    *(Mac(scheme="uniform", style=s) for s in ("array", "direct", "booth", "table", "serial")),
    *(Mac(scheme="post-split", accumulation=sums) for sums in ("shared", "ordered")),
    Mac(scheme="post-split", style="select", clear="ahead", segments=3, activation_signed=True),
    Mac(scheme="post-split", accumulation="shared", clear="ahead", cells=ECP5_CELLS),
    Mac(scheme="post-split", style="staged", accumulation="shared", clear="idle", cells=ECP5_CELLS),
    Mac(scheme="uniform", clear="idle", pipeline=2),
    Mac(scheme="uniform", codes="inverted", clear="ahead"),
    Mac(scheme="uniform", codes="sign-magnitude", clear="ahead", cells=ECP5_CELLS),
    Mac(scheme="post-split", style="staged", clear="idle"),
    Mac(scheme="pot", style="staged", segments=3, cells=ECP5_CELLS),
    Mac(scheme="pot", style="table", pipeline=2),
    Mac(scheme="apot", style="select", weight_bits=8, activation_bits=8, pipeline=0),
    DotProduct(mac=Mac(scheme="post-split"), lanes=3),
    DotProduct(mac=Mac(scheme="uniform", style="booth"), lanes=2),
    LadderQuantizer(step_fraction_bits=8),
    LadderQuantizer(bits=2, signed=True),
    ReciprocalQuantizer(step_fraction_bits=8),
    ReciprocalQuantizer(bits=3, signed=True),
    ShiftQuantizer(step_fraction_bits=8),
    ShiftQuantizer(bits=3, signed=True),
    ConstantQuantizer(step_fraction_bits=8, step=1000),
    ConstantQuantizer(bits=3, signed=True, step=77),
    ExponentFinder(),
    ExponentFinder(offset=-7, lowest=2, highest=9),
    Requantizer(),
    Requantizer(pair=True),
    PoolingAccumulator(),
    PoolingAccumulator(elements=1, shift=0),
    two_stage_adapter(),
    SerialAdapter(stages=two_stage_adapter().stages),
)
