"""``asq-hw synth mac``: schemes, widths and ways to build a unit, held against uniform's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from analysis.studies.mac_synthesis import Comparison, Row, Variants, compare, units
from analysis.studies.study import FMAX, RESOURCES, Findings, Heading, Planned, Study
from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from rtl.mac.design import Mac
from rtl.mac.schemes import MacScheme, Signs
from rtl.quantizer.of_layer import LayerUnits
from rtl.synthesis.measure import Measurement
from rtl.targets.target import Target
from rtl.units import operands
from rtl.units.option import ALL, Given, Option, default_of

__all__ = ["MacStudy"]

_SCHEMES = f"Among {', '.join(MacScheme)}; default: all that have the bits."
_ENCODINGS = replace(operands.ENCODING, flags=("--encoding", "--grid", "--grids"), metavar="E")
_VARIANTS = Option(
    name="variants",
    flags=("--variants",),
    type=str,
    metavar="|".join(Variants),
    choices=tuple(Variants),
    default=str(Variants.RECOMMENDED),
    help="Build each unit in the recommended way, in all fast ways, with weights coded for it and "
    "the target's cells, or in every way.",
)


class MacStudy(Study):
    """Multiply-accumulate units, each scheme's best against uniform's best."""

    options = (
        operands.SCHEME.several(ALL, _SCHEMES),
        operands.WEIGHT_BITS.several(str(default_of(Mac, "weight_bits")), "Widths of the weights."),
        operands.ACTIVATION_BITS,
        operands.ACTIVATION_SIGNED,
        _ENCODINGS.several(_ENCODINGS.default, f"Levels of pot and post: {', '.join(Encoding)}."),
        operands.ACCUMULATOR_BITS,
        operands.SIGNS.several(operands.SIGNS.default, "Among immediate, deferred; docs/mac.md."),
        _VARIANTS,
    )
    peers = ("target", "bits", "order")
    columns = (
        Heading("scheme", "scheme"),
        Heading("bits", "bits", "d"),
        Heading("target", "target"),
        Heading("accumulation", "sums"),
        Heading("style", "product"),
        Heading("codes", "weights"),
        Heading("signs", "signs"),
        Heading("levels", "levels", "d"),
        Heading("made_of", "sums made of"),
        Heading("clear", "clear"),
        Heading("pipeline", "pipeline", "d"),
        Heading("segments", "segments", "d"),
        Heading("latency_cyc", "latency (cycles)", "d"),
        Heading("cycles_per_product", "cycles per product", "d"),
        Heading("idle_cyc", "idle before a sum", "d"),
        *RESOURCES,
        FMAX,
    )

    def is_base(self, row: Mapping[str, object]) -> bool:
        """Uniform units."""
        return row["scheme"] == MacScheme.UNIFORM

    def plan(
        self, given: Given, targets: Sequence[Target], layer: LayerUnits | None = None
    ) -> Sequence[Planned]:
        """Every scheme at every width; where all are asked for, those that there are."""
        every = given["scheme"] == ALL
        schemes = list(MacScheme) if every else [MacScheme(name) for name in given["scheme"]]
        for width in given["weight_bits"] if every else ():
            if not any(scheme.has_weight_bits(width) for scheme in schemes):
                raise InputError(f"bits must be {MIN_BITS}..{MAX_BITS}, not {width}")
        return [
            (target, mac)
            for target in targets
            for mac in units(
                schemes,
                given["weight_bits"],
                target=target,
                activation_bits=given["activation_bits"],
                activation_signed=given["activation_signed"],
                accumulator_bits=given["accumulator_bits"],
                encodings=[Encoding(name) for name in given["encoding"]],
                signs=[Signs(name) for name in given["signs"]],
                variants=Variants(given["variants"]),
                skip_missing=every,
            )
        ]

    def findings(self, planned: Sequence[Planned], measured: Sequence[Measurement]) -> Findings:
        """A row for each unit, and comparisons."""
        rows = [
            Row(mac=cast(Mac, design), target=target, measurement=measurement)
            for (target, design), measurement in zip(planned, measured, strict=True)
        ]
        comparisons = compare(rows)
        return Findings(
            rows=[row.as_dict() for row in rows],
            others={"comparisons": [comparison.as_dict() for comparison in comparisons]},
            notes=[_note(comparison) for comparison in comparisons],
        )


def _note(comparison: Comparison) -> str:
    """One line for people: a scheme's best against uniform's."""
    values = comparison.as_dict()
    unit = comparison.smallest.target.area.heading
    parts = [
        f"{values['target']}, {values['bits']} bits, {values['scheme']}: {values['area']} {unit}",
        f"{values['area_ratio']:.2f} of uniform's best ({values['baseline_area']})",
    ]
    if "plain_area" in values:
        parts.append(f"{values['plain_area_ratio']:.2f} of a plain one ({values['plain_area']})")
    if "fmax_ratio" in values:
        parts += [
            f"{values['fmax_mhz']:.0f} MHz",
            f"{values['fmax_ratio']:.2f} of uniform's best ({values['baseline_fmax_mhz']:.0f})",
        ]
    if "plain_fmax_mhz" in values:
        parts.append(
            f"{values['plain_fmax_ratio']:.2f} of a plain one ({values['plain_fmax_mhz']:.0f})"
        )
    return ", ".join(parts)
