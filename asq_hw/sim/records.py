"""One record for each kind of step: lowering fills it in by keywords, the kernels read it.

A record is a named tuple and a row of one of the program's tables; `table_type` makes the table's
type from its fields, which are int64 or records themselves. Compiled or not, kernels read a row's
fields as attributes, so that the type checker knows every field that is read.

Numbers are places in the arrays of `Program` or `Memory` where a name ends in ``_at``; `source` and
`destination` are places among the feature maps.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, cast, get_type_hints

import numpy as np

from asq_hw.sim.program import ComputeType, Kind, Method, Requantization

__all__ = [
    "NOWHERE",
    "NO_ADAPTER",
    "NO_EXPONENT",
    "NO_ODD_CODES",
    "NO_SHARED_STEP",
    "NO_WINOGRAD",
    "AdapterRecord",
    "CodesRecord",
    "ConvolutionRecord",
    "DotRecord",
    "ExponentRecord",
    "OddCodesRecord",
    "OutputRange",
    "QuantizerRecord",
    "RequantizationRecord",
    "SharedStepRecord",
    "StageRecord",
    "StepRecord",
    "WinogradRecord",
    "table_type",
]

NOWHERE = -1
"""The place of what there is not."""


class StepRecord(NamedTuple):
    """One step, in the order of execution."""

    kind: Kind
    row: int
    """In the kind's table."""
    layer: int
    """The layer's number in the network, for the statistics."""


class OutputRange(NamedTuple):
    """Values that a layer stores."""

    low: int
    """What results are saturated to, and counted."""
    high: int
    floor: int
    """What they are clamped to after that, inside ``low .. high``: a ReLU."""
    ceiling: int


class StageRecord(NamedTuple):
    """One stage of an adapter: a small linear layer."""

    inputs: int
    outputs: int
    weights_at: int
    """Among the adapters' weights."""
    biases_at: int
    multiplier: int
    shift: int
    minimum: int
    maximum: int


class AdapterRecord(NamedTuple):
    """What computes a sample's step size from the means of its channels."""

    stages: int
    """0 where the step size is fixed."""
    first_stage: int
    pool_multiplier: int
    pool_shift: int
    summable_pixels: int
    """Pixels whose values have a sum of 32 bits."""
    channel_sums_at: int
    """Where the layer before has left the sums of its channels, or `NOWHERE`."""
    powers_at: int
    """Where powers of two stand, if the last stage's output is an exponent, or `NOWHERE`."""
    exponent_offset: int
    """What is added to that exponent."""


NO_ADAPTER = AdapterRecord(
    stages=0,
    first_stage=NOWHERE,
    pool_multiplier=0,
    pool_shift=0,
    summable_pixels=0,
    channel_sums_at=NOWHERE,
    powers_at=NOWHERE,
    exponent_offset=0,
)


class ExponentRecord(NamedTuple):
    """A step size that is a power of two, from the largest of a sample's values."""

    shift: int
    """From the largest value's exponent to the step's."""
    lowest: int
    highest: int
    """`NOWHERE` where the step size is another."""


NO_EXPONENT = ExponentRecord(shift=0, lowest=0, highest=NOWHERE)


class SharedStepRecord(NamedTuple):
    """A step size that is another layer's, times a constant."""

    layer: int
    """The other layer's number in the network; `NOWHERE` where the step size is another."""
    multiplier: int
    shift: int
    minimum: int
    maximum: int


NO_SHARED_STEP = SharedStepRecord(layer=NOWHERE, multiplier=0, shift=0, minimum=0, maximum=0)


class OddCodesRecord(NamedTuple):
    """The second codes of activations, which are kept as what they are above the first ones."""

    code_low: int
    code_high: int
    least: int
    """The smallest difference of the two codes."""
    indices_at: int
    """Where the differences above `least` go in bytes; `NOWHERE` where there are no such codes."""


NO_ODD_CODES = OddCodesRecord(code_low=0, code_high=0, least=0, indices_at=NOWHERE)


class QuantizerRecord(NamedTuple):
    """The activation quantizer in front of a convolution."""

    step_size: int
    """Where it is fixed."""
    adapter: AdapterRecord
    exponent: ExponentRecord
    shared: SharedStepRecord
    step_fraction_bits: int
    code_low: int
    code_high: int
    odd: OddCodesRecord


class CodesRecord(NamedTuple):
    """Where a convolution's codes go: first ``q - Qn`` in bytes, then planes in a padded map."""

    indices_at: int
    start: int
    """Of the padded map, in the codes of the layer's compute type."""
    width: int
    """Of the padded map, in pixels."""
    padding_y: int
    padding_x: int
    planes: int
    plane: int
    """Codes from one plane to the next."""
    tables_at: int
    """What stands in each plane for each ``q - Qn``, or for each difference of odd codes."""


class WinogradRecord(NamedTuple):
    """Of Winograd's method."""

    tiles: int
    """Of 2 x 2 outputs."""
    tiles_across: int
    row: int
    """Bytes of one tile's channels, of all planes of codes, in a plane of transformed codes."""
    offset: int
    """What keeps transformed codes from being negative."""


NO_WINOGRAD = WinogradRecord(tiles=0, tiles_across=0, row=0, offset=0)


class DotRecord(NamedTuple):
    """Dot products: sums of ``parts`` parts, each of ``columns / parts`` padded output channels."""

    method: Method
    winograd: WinogradRecord
    groups: int
    group_channels: int
    group_outputs: int
    parts: int
    """2 for an even and an odd part."""
    columns: int
    quads: int
    """Of a window, each four codes side by side; of depthwise layers, its taps."""
    quads_at: int
    pixels: int
    """Of the output."""
    windows_at: int
    """Where the windows of output pixels start."""
    outputs_at: int
    """Where the outputs of pixels go, in the order of the sums."""
    block: int
    """Pixels, or tiles, whose sums are computed before they are requantized."""
    weights_at: int
    corrections_at: int
    run: int
    """Quads whose products AVX2 may add in 16 bits."""


class RequantizationRecord(NamedTuple):
    """From sums to outputs."""

    method: Requantization
    split_bits: int
    pixels_at_once: int
    multipliers_at: int
    biases_at: int
    """Among the constants, as often as pixels are requantized at once."""
    biases32_at: int
    """Among the biases of 32 bits, once."""
    narrow_shift: int
    fraction_bits: int
    shift: int
    range: OutputRange
    destination: int
    channels: int
    accumulators_at: int
    """Where sums are kept, if they are."""
    channel_sums_at: int
    """Where the outputs' sums over each channel are left for an adapter, or `NOWHERE`."""


class ConvolutionRecord(NamedTuple):
    """A convolution or a linear layer: quantize, multiply and accumulate, requantize."""

    source: int
    channels: int
    height: int
    width: int
    compute_type: ComputeType
    quantizer: QuantizerRecord
    codes: CodesRecord
    dot: DotRecord
    requantization: RequantizationRecord


@cache
def table_type(record: type[tuple[object, ...]]) -> np.dtype[np.record]:
    """The type of a table of such records."""
    fields = [
        (name, table_type(kind) if hasattr(kind, "_fields") else np.dtype(np.int64))
        for name, kind in get_type_hints(record).items()
    ]
    hidden = [name for name, _ in fields if hasattr(np.record, name)]
    assert not hidden, f"numpy's records have attributes {hidden} of their own"
    return cast("np.dtype[np.record]", np.dtype((np.record, fields)))
