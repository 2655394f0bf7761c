"""Networks that show steps which are exponents."""

from __future__ import annotations

import numpy as np

from asq_hw.conformance.builders import (
    arbitrary,
    codes_for,
    conv,
    input_layer,
    network,
    quantizer,
)
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import GlobalAveragePool
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_exponent import SharedExponentStep

__all__ = ["log_linear", "shared_exponent"]


def log_linear() -> IntegerNetwork:
    """Steps that are powers: large ones of eight channels, and small ones that round coarsely."""
    fine = LogLinearStep(
        pool_multiplier=21845,
        pool_shift=17,
        weight=np.array(arbitrary(21, 8, -128, 127)),
        multiplier=1201,
        shift=20,
        offset=4030,
        lowest=1880,
        highest=4045,
    )
    coarse = LogLinearStep(
        pool_multiplier=1,
        pool_shift=1,
        weight=np.array([-3, 5]),
        multiplier=120,
        shift=3,
        offset=500,
        lowest=0,
        highest=4095,
    )
    return network(
        "log_linear",
        input_layer(3, 4, offset=[-100]),
        conv(
            "expand",
            "input",
            "apot 4 packed",
            codes_for("apot 4 packed", (8, 1, 2, 2), 22),
            quantizer(5, 9, signed=True),
            multiplier=[7, -5, 3],
            shift=2,
            bias=[20, -30],
        ),
        conv(
            "fine",
            "expand",
            "post 4 packed",
            codes_for("post 4 packed", (2, 8, 2, 2), 23),
            quantizer(4, fine, step_fraction_bits=8),
            multiplier=[300, -200],
            narrow_shift=6,
            shift=20,
        ),
        conv(
            "coarse",
            "fine",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (3, 2, 1, 1), 24),
            quantizer(4, coarse, signed=True),
            multiplier=[5],
            shift=3,
        ),
        GlobalAveragePool(name="scores", source="coarse", multiplier=1, shift=1),
    )


def shared_exponent() -> IntegerNetwork:
    """Steps from the largest magnitude: of signed and unsigned codes, and at either limit."""
    return network(
        "shared_exponent",
        input_layer(3, 4, multiplier=[129], offset=[-32768]),
        conv(
            "signed",
            "input",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (2, 1, 2, 2), 25),
            quantizer(4, SharedExponentStep(lowest=0, highest=15), signed=True),
            multiplier=[3, -2],
            shift=6,
        ),
        conv(
            "unsigned",
            "signed",
            "post 4 packed",
            codes_for("post 4 packed", (2, 2, 1, 1), 26),
            quantizer(3, SharedExponentStep(lowest=0, highest=15), step_fraction_bits=1),
            multiplier=[1, -1],
            shift=6,
        ),
        conv(
            "limited",
            "unsigned",
            "uniform 8 packed",
            codes_for("uniform 8 packed", (3, 2, 1, 1), 27),
            quantizer(8, SharedExponentStep(lowest=3, highest=5), signed=True),
            shift=9,
        ),
        GlobalAveragePool(name="scores", source="limited", multiplier=1, shift=1),
    )
