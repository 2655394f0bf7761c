"""The emitted Verilog of quantizer and requantizer against the network's own arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import POST
from asq_hw.numbers.widths import BIAS_BITS, STEP_BITS
from rtl.design import Design
from rtl.emit.vectors import Vectors
from rtl.quantizer.activation import FeatureQuantizer, StepQuantizer
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.quantizer.requantizer import Requantizer
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.pace import check_pace
from rtl.verify.simulation import COSIM_CYCLES, simulate

__all__ = [
    "MOST_TRIED_BITS",
    "STEPS",
    "every_feature",
    "every_value",
    "exhaustive_quantizer",
    "exhaustive_requantizer",
    "long_run",
    "oracle_codes",
    "some_steps",
]

STEPS = 16
"""Steps that every feature is tried with."""

MOST_TRIED_BITS = 20
"""Width up to which every feature, or every dot product, is tried."""
_PIXELS = 256


def some_steps(count: int) -> list[int]:
    """Different steps: the smallest and the largest, around powers of two, then random ones."""
    largest = (1 << STEP_BITS) - 1
    edges = [1, largest, 2, 3, largest - 1, *(1 << bit for bit in range(2, STEP_BITS))]
    edges += [(1 << bit) + offset for bit in range(3, STEP_BITS) for offset in (-1, 1)]
    random = np.random.default_rng(3).permutation(np.arange(1, largest + 1))
    half = -(-count // 2)
    return list(dict.fromkeys([*edges[:half], *random.tolist()]))[:count]


def exhaustive_quantizer(design: FeatureQuantizer, *, steps: int = STEPS) -> list[Check]:
    """Every feature for many steps, or the constant one: oracle = software model = Verilog."""
    tried = [design.step] if isinstance(design, ConstantQuantizer) else some_steps(steps)
    function = partial(_exhaustive, design, tried)
    return [timed(f"{design.name} codes", Method.EXHAUSTIVE, function)]


def exhaustive_requantizer(design: Requantizer, *, steps: int = STEPS) -> list[Check]:
    """Every dot product for many multipliers and biases: formula = model = emitted Verilog."""
    function = partial(_every_value, design, steps)
    return [timed(f"{design.name} features", Method.EXHAUSTIVE, function)]


def long_run(design: Design, *, operations: int = COSIM_CYCLES) -> list[Check]:
    """One long run of the design's own stimulus: edges, thresholds, saturation; and its pace."""

    def run() -> Outcome:
        return _run(design, Vectors.random(design, operations))

    return [timed(f"{design.name} run", Method.COSIM, run), *check_pace([design])]


def _exhaustive(design: FeatureQuantizer, steps: Sequence[int]) -> Outcome:
    rows = every_feature(design, steps)
    taken = rows["load"] == 0
    if not isinstance(design, StepQuantizer):
        rows = {"feature": rows["feature"][taken]}
        taken = np.ones_like(rows["feature"], dtype=np.bool_)
    answers = design.reference(rows)[design.code_port.name]
    expected = np.concatenate([oracle_codes(design, step) for step in steps])
    if not np.array_equal(answers[taken], expected):
        return Outcome(cases=len(answers), passed=False, detail="software model and oracle differ")
    return _run(design, Vectors.of(design, rows))


def _run(design: Design, vectors: Vectors) -> Outcome:
    result = simulate({design: vectors})[design]
    return Outcome(cases=vectors.checked, passed=result.passed, detail=result.verdict)


def every_feature(design: FeatureQuantizer, steps: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Each step, and behind it every feature that there is, from the smallest up."""
    if design.feature_bits > MOST_TRIED_BITS:
        raise InputError(
            f"feature bits must be at most {MOST_TRIED_BITS} to try every feature, "
            f"not {design.feature_bits}"
        )
    half = 1 << (design.feature_bits - 1)
    features = np.concatenate([[0], np.arange(-half, half)])
    first = np.zeros(len(features), dtype=np.int64)
    first[0] = 1
    return {
        "load": np.tile(first, len(steps)),
        "step": np.repeat(np.array(steps, dtype=np.int64), len(features)),
        "feature": np.tile(features, len(steps)),
    }


def _every_value(design: Requantizer, count: int) -> Outcome:
    rows = every_value(design, count)
    answers = design.reference(rows)["feature"].tolist()
    half, least = 1 << design.shift, -(1 << (design.bits - 1))
    columns = (rows[name].tolist() for name in ("value", "multiplier", "bias"))
    for (value, multiplier, bias), answer in zip(zip(*columns, strict=True), answers, strict=True):
        # floor(v * m / 2**s + 1/2), as the contract defines rounding.
        exact = (2 * value * multiplier + half) // (2 * half) + bias
        if answer != max(least, min(exact, -least - 1)):
            return Outcome(cases=len(answers), passed=False, detail="software model is wrong")
    return _run(design, Vectors.of(design, rows))


def every_value(design: Requantizer, count: int) -> dict[str, NDArray[np.int64]]:
    """Every dot product with `count` multipliers and biases; the first are the extreme ones."""
    if design.pair or design.value_bits > MOST_TRIED_BITS:
        raise InputError(
            f"value bits must be at most {MOST_TRIED_BITS}, and not a pair, to try every value"
        )
    random = np.random.default_rng(4)
    ports = {port.name: port for port in design.inputs}
    multipliers, biases = (
        [*ports[name].range, *ports[name].random_values(random, count).tolist()][:count]
        for name in ("multiplier", "bias")
    )
    # Beside the extreme biases, those that leave outputs within the feature's range.
    biases = [bias if index < 2 else bias >> BIAS_BITS // 2 for index, bias in enumerate(biases)]
    half = 1 << (design.value_bits - 1)
    values = np.arange(-half, half)
    return {
        "value": np.tile(values, count),
        "multiplier": np.repeat(np.array(multipliers, dtype=np.int64), len(values)),
        "bias": np.repeat(np.array(biases, dtype=np.int64), len(values)),
    }


def oracle_codes(design: FeatureQuantizer, step: int) -> NDArray[np.int64]:
    """Codes of every feature in order, as `asq_hw.oracle` quantizes a feature map that has them.

    Odd codes of a unit that makes those, whose oracle makes their step itself.
    """
    makes_odd = isinstance(design, OddLadderQuantizer)
    if isinstance(design, StepQuantizer) and not makes_odd:
        step = design.acting(step)
    network = _network_of_every_feature(design, step)
    channels, width = network.input.channels, network.input.width
    row = np.arange(width, dtype=np.uint8).reshape(1, 1, 1, width)
    images = np.broadcast_to(row, (1, channels, 1, width)).copy()
    traced = oracle.trace(network, images, Product(kind=ProductKind.POST_DUAL))
    made = traced.odd_codes if makes_odd else traced.codes
    return made["reader"].reshape(-1)


def _network_of_every_feature(design: FeatureQuantizer, step: int) -> IntegerNetwork:
    """Each channel adds another offset to the 256 pixel values."""
    bits = design.feature_bits
    width = min(_PIXELS, 1 << bits)
    channels = (1 << bits) // width
    form = FeatureFormat(bits=bits, fraction_bits=0)
    features = Input(
        name="features",
        height=1,
        width=width,
        multiplier=np.ones(channels, dtype=np.int64),
        offset=np.arange(channels) * width - (1 << (bits - 1)),
        shift=0,
        output=form,
    )
    quantizer = ActivationQuantizer(
        grid=design.grid,
        step=FixedStep(step=step),
        step_fraction_bits=design.step_fraction_bits,
    )
    reader = Conv(
        name="reader",
        source="features",
        quantizer=quantizer,
        weight_grid=Grid(scheme=POST, bits=3),
        weight_codes=np.zeros((1, channels, 1, width), dtype=np.uint16),
        multiplier=np.ones(1, dtype=np.int64),
        narrow_shift=0,
        shift=0,
        bias=np.zeros(1, dtype=np.int64),
        output=form,
        stride=(1, 1),
        padding=(0, 0),
        groups=1,
    )
    return IntegerNetwork(name="codes", layers=(features, reader))
