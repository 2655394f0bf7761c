"""Dot-product units, measured: what a smaller product is worth where it stands many times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import product
from typing import cast

from analysis.studies.study import (
    FMAX,
    RESOURCES,
    Findings,
    Heading,
    Planned,
    Study,
    area_of,
)
from asq_hw.errors import InputError
from rtl.mac.codes import Codes
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import Accumulation, MacScheme, Signs, Style
from rtl.quantizer.of_layer import LayerUnits
from rtl.synthesis.measure import Measurement
from rtl.targets.target import Target
from rtl.units import operands
from rtl.units.dot import LANES
from rtl.units.option import Given, default_of

__all__ = ["DotStudy", "units"]


def units(
    schemes: Sequence[MacScheme],
    lanes: Iterable[int],
    targets: Iterable[Target],
    *,
    bits: int,
    activation_bits: int = 4,
    activation_signed: bool = False,
    accumulator_bits: int = 24,
    signs: Sequence[Signs] = (Signs.IMMEDIATE,),
) -> list[Planned]:
    """The units to measure, uniform first: each in every style, and with weights in every code.

    Parameters
    ----------
    schemes : sequence of MacScheme
        Weight grids and products.
    lanes : iterable of int
        Products in a cycle.
    targets : iterable of Target
        What the units are for.
    bits : int
        Width of a weight.
    activation_bits : int
        2 to 8.
    activation_signed : bool
        Whether activations are two's complement.
    accumulator_bits : int
        Width of the widest accumulator.
    signs : sequence of Signs
        When the signs of weights count.

    Raises
    ------
    InputError
        If a scheme is not built with these operands.
    """
    schemes = sorted(schemes, key=lambda scheme: scheme is not MacScheme.UNIFORM)
    made: list[Planned] = []
    for target, count, scheme, counting in product(targets, lanes, schemes, signs):
        plain = Mac(
            scheme=scheme,
            weight_bits=bits,
            activation_bits=activation_bits,
            activation_signed=activation_signed,
            accumulator_bits=accumulator_bits,
            signs=counting,
        )
        made += [(target, design) for design in _ways(plain, count)]
    return made


def _ways(plain: Mac, lanes: int) -> list[DotProduct]:
    """Every product and every code of the weights that a unit of so many lanes can have."""
    DotProduct(mac=plain, lanes=lanes)  # or there is none at all, and it says why
    made = []
    for accumulation, style, codes in product(Accumulation, Style, Codes):
        mac = plain.variant(accumulation=accumulation, style=style, codes=codes)
        with suppress(InputError):
            made += [] if mac is None else [DotProduct(mac=mac, lanes=lanes)]
    return made


class DotStudy(Study):
    """Units in every style, over the best uniform one of the same target and lanes."""

    options = (
        operands.SCHEME.several(
            f"{MacScheme.UNIFORM},{MacScheme.POST_SPLIT}", "Each against uniform, if it is one."
        ),
        operands.WEIGHT_BITS.with_default(default_of(Mac, "weight_bits")),
        LANES.several("8"),
        operands.ACTIVATION_BITS,
        operands.ACTIVATION_SIGNED,
        operands.ACCUMULATOR_BITS,
        operands.SIGNS.several(operands.SIGNS.default, "Among immediate, deferred; docs/mac.md."),
    )
    columns = (
        Heading("target", "target"),
        Heading("lanes", "lanes", "d"),
        Heading("scheme", "scheme"),
        Heading("bits", "bits", "d"),
        Heading("accumulation", "sums"),
        Heading("style", "product"),
        Heading("codes", "weights"),
        Heading("signs", "signs"),
        Heading("levels", "levels", "d"),
        Heading("latency_cyc", "latency (cycles)", "d"),
        *(heading for heading in RESOURCES if heading.key not in ("carries", "dsps")),
        Heading("area_ratio", "area / best uniform", ".2f"),
        FMAX,
        Heading("fmax_ratio", "Fmax / best uniform", ".2f"),
    )

    def plan(
        self, given: Given, targets: Sequence[Target], layer: LayerUnits | None = None
    ) -> Sequence[Planned]:
        """Each scheme in each number of lanes, in every way to build it."""
        return units(
            [MacScheme(name) for name in given["scheme"]],
            given["lanes"],
            targets,
            bits=given["weight_bits"],
            activation_bits=given["activation_bits"],
            activation_signed=given["activation_signed"],
            accumulator_bits=given["accumulator_bits"],
            signs=[Signs(name) for name in given["signs"]],
        )

    def findings(self, planned: Sequence[Planned], measured: Sequence[Measurement]) -> Findings:
        """A row for each unit; ratios are to uniform's least area and highest frequency.

        Sums that need an order of their weights have none: uniform ones take any.
        """
        rows = [
            _row(target, cast(DotProduct, design), result)
            for (target, design), result in zip(planned, measured, strict=True)
        ]
        for row in rows:
            bases = [
                other
                for other in rows
                if other["scheme"] == MacScheme.UNIFORM
                and row["accumulation"] != Accumulation.ORDERED
                and (other["target"], other["lanes"]) == (row["target"], row["lanes"])
            ]
            for ratio, key, best in (("area_ratio", "area", min), ("fmax_ratio", "fmax_mhz", max)):
                known = [cast(float, base[key]) for base in bases if base[key]]
                mine = cast(float | None, row[key])
                row[ratio] = mine / best(known) if known and mine else None
        return Findings(rows=rows)


def _row(target: Target, design: DotProduct, measured: Measurement) -> dict[str, object]:
    mac, resources = design.mac, measured.resources
    return {
        "target": target.name,
        "lanes": design.lanes,
        "scheme": str(mac.scheme),
        "bits": mac.weight_bits,
        "accumulation": str(mac.accumulation),
        "style": str(mac.style),
        "codes": str(mac.codes),
        "signs": str(mac.signs),
        "levels": len(mac.weight_codes),
        "latency_cyc": design.latency_cyc,
        "area": area_of(measured, target),
        "luts": resources.luts,
        "ffs": resources.ffs,
        "cells": measured.cells,
        "transistors": resources.transistors,
        "fmax_mhz": measured.fmax_mhz,
        "unit": design.stem,
        **resources.others,
    }
