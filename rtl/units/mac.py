"""The multiply-accumulate unit as a kind."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import cast

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.products import MAX_LUT_FRACTION_BITS
from rtl.design import Design
from rtl.lib.cells import Cells
from rtl.mac.combinations import MAX_PIPELINE
from rtl.mac.design import Mac
from rtl.mac.parameters import MAX_ACCUMULATOR_BITS, MAX_SEGMENTS
from rtl.mac.schemes import Clear, MacScheme
from rtl.quantizer.of_layer import LayerUnits
from rtl.targets.registry import TARGETS
from rtl.units import operands
from rtl.units.option import ALL, Given, Option, default_of
from rtl.units.unit import Effort, Rungs, Unit, of_each
from rtl.verify.checks import Check, Method
from rtl.verify.mac import check_longest_sum
from rtl.verify.of_designs import prove_design
from rtl.verify.simulation import cosim, exhaustive_mac
from rtl.verify.sums import check_cells

__all__ = ["MAC"]

_LENGTH = Option(
    name="length",
    flags=("--length",),
    help="Products of a sum: accumulators as narrow as they may be, instead.",
)
_CLEAR = Option(
    name="clear",
    flags=("--clear",),
    type=str,
    metavar="|".join(Clear),
    choices=tuple(Clear),
    default=str(default_of(Mac, "clear")),
    help="How a new sum begins.",
)
_PIPELINE = Option(
    name="pipeline",
    flags=("--pipeline",),
    default=default_of(Mac, "pipeline"),
    help=f"Registers on the way, 0 to {MAX_PIPELINE}.",
)
_SEGMENTS = Option(
    name="segments",
    flags=("--segments",),
    default=default_of(Mac, "segments"),
    help=f"Parts of a sum's carry chain, 1 to {MAX_SEGMENTS}.",
)
_LUT_FRACTION_BITS = Option(
    name="lut_fraction_bits",
    flags=("--lut-fraction-bits",),
    metavar="F",
    default=default_of(Mac, "lut_fraction_bits"),
    help=f"Of post-lut's table, 0 to {MAX_LUT_FRACTION_BITS}.",
)
_TARGET = Option(
    name="target",
    flags=("--target",),
    type=str,
    metavar="T",
    choices=tuple(target.name for target in TARGETS if target.cells),
    help="Sums of this chip's cells, where they serve; portable Verilog without it.",
)
_EVERY = Option(
    name="every",
    flags=("--every",),
    type=bool,
    default=False,
    help="Every way to build a unit, not the usual one alone.",
)


class _MacUnit(Unit):
    """Products of weights and activations, one after the other, summed."""

    name = "mac"
    title = "a multiply-accumulate unit"
    purpose = "a product of weight and activation each cycle, summed"
    options = (
        operands.SCHEME,
        operands.WEIGHT_BITS,
        operands.ACTIVATION_BITS,
        operands.ACTIVATION_SIGNED,
        operands.ENCODING,
        operands.ACCUMULATOR_BITS,
        _LENGTH,
        operands.STYLE,
        operands.CODES,
        operands.ACCUMULATION,
        _CLEAR,
        _PIPELINE,
        _SEGMENTS,
        operands.SIGNS,
        _LUT_FRACTION_BITS,
        _TARGET,
    )
    verify_options = (
        operands.SCHEME.several(ALL, "Default: all that have the widths."),
        operands.WEIGHT_BITS.several(str(default_of(Mac, "weight_bits")), "Widths of a weight."),
        operands.ACTIVATION_BITS,
        operands.ACTIVATION_SIGNED,
        operands.ENCODING,
        operands.ACCUMULATOR_BITS,
        operands.STYLE,
        operands.CODES,
        operands.ACCUMULATION,
        _CLEAR,
        _PIPELINE,
        operands.SIGNS,
        _TARGET,
        _EVERY,
    )
    examples = (
        "asq-hw rtl mac --scheme post-split --weight-bits 4 -o build/post-split",
        "asq-hw verify mac --scheme post-split --weight-bits 4 --method formal",
        "asq-hw synth mac --scheme uniform,post-split --weight-bits 4 --target gates",
    )

    def design(self, given: Given, layer: LayerUnits | None = None) -> Mac:
        """The unit; with a length its accumulators are just wide enough."""
        fields = dict(given)
        length = fields.pop("length", None)
        if length is None:
            return _mac(fields)
        return Mac.for_length(length, _mac(fields | {"accumulator_bits": MAX_ACCUMULATOR_BITS}))

    def designs(self, given: Given, layer: LayerUnits | None = None) -> Sequence[Mac]:
        """Every scheme with every width; combinations that do not exist are left out."""
        fields = dict(given)
        every, schemes, widths = (fields.pop(name) for name in ("every", "scheme", "weight_bits"))
        cells = _cells(fields.pop("target"))
        designs: list[Mac] = []
        refusal: InputError | None = None
        for scheme, bits in product(tuple(MacScheme) if schemes == ALL else schemes, widths):
            try:
                plain = _mac(fields | {"scheme": scheme, "weight_bits": bits})
            except InputError as error:
                refusal = error
                continue
            designs += [mac.on_cells(cells) for mac in (plain.variants() if every else [plain])]
        if not designs and refusal is not None:
            raise refusal
        return designs

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """Every pair and long runs, all designs in one program; proofs, also of the longest sum."""
        macs = cast(Sequence[Mac], designs)
        return {
            **super().rungs(designs, given, effort, layer),
            Method.EXHAUSTIVE: lambda: exhaustive_mac(macs),
            Method.COSIM: lambda: cosim(macs, operations=effort.operations),
            Method.FORMAL: lambda: of_each(macs, _prove),
        }


def _prove(design: Mac) -> list[Check]:
    width = max(port.width for port in design.accumulators)
    cells = check_cells(design.cells, width) if design.cells else []
    return [*prove_design(design), *check_longest_sum(design), *cells]


def _mac(given: Given) -> Mac:
    fields = dict(given)
    cells = _cells(fields.pop("target", None))
    return Mac(**{**fields, "encoding": Encoding(fields["encoding"])}).on_cells(cells)


def _cells(target: str | None) -> Cells | None:
    return None if target is None else TARGETS.find(target).cells


MAC = _MacUnit()
