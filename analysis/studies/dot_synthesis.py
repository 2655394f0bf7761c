"""Dot-product units, measured: what a smaller product is worth where it stands many times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import Accumulation, MacScheme, Style
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
) -> list[Planned]:
    """The units to measure, uniform first: in ``pair`` and ``ordered`` sums where there is a pair.

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

    Raises
    ------
    InputError
        If a scheme is not built with these operands.
    """
    schemes = sorted(schemes, key=lambda scheme: scheme is not MacScheme.UNIFORM)
    made: list[Planned] = []
    for target, count, scheme in product(targets, lanes, schemes):
        plain = Mac(
            scheme=scheme,
            weight_bits=bits,
            activation_bits=activation_bits,
            activation_signed=activation_signed,
            accumulator_bits=accumulator_bits,
        )
        sums = (Accumulation.PAIR, Accumulation.ORDERED) if plain.splits else (plain.accumulation,)
        # Registers are free where each look-up table has one, and dear where all is gates.
        styles = (Style.DIRECT, Style.SELECT, Style.TABLE) if not target.has_free_registers else ()
        for accumulation in sums:
            tried = [plain.variant(style=s, accumulation=accumulation) for s in (*styles, None)]
            mac = next(each for each in tried if each is not None)
            made.append((target, DotProduct(mac=mac, lanes=count)))
    return made


class DotStudy(Study):
    """Units in a style that suits the target, beside uniform ones."""

    options = (
        operands.SCHEME.several(
            f"{MacScheme.UNIFORM},{MacScheme.POST_SPLIT}", "Each against uniform, if it is one."
        ),
        operands.WEIGHT_BITS.with_default(default_of(Mac, "weight_bits")),
        LANES.several("8"),
        operands.ACTIVATION_BITS,
        operands.ACTIVATION_SIGNED,
        operands.ACCUMULATOR_BITS,
    )
    columns = (
        Heading("target", "target"),
        Heading("lanes", "lanes", "d"),
        Heading("scheme", "scheme"),
        Heading("bits", "bits", "d"),
        Heading("accumulation", "sums"),
        Heading("style", "product"),
        Heading("latency_cyc", "latency (cycles)", "d"),
        *(heading for heading in RESOURCES if heading.key not in ("carries", "dsps")),
        Heading("area_ratio", "area / uniform", ".2f"),
        FMAX,
        Heading("fmax_ratio", "Fmax / uniform", ".2f"),
    )

    def plan(
        self, given: Given, targets: Sequence[Target], layer: LayerUnits | None = None
    ) -> Sequence[Planned]:
        """Each scheme in each number of lanes."""
        return units(
            [MacScheme(name) for name in given["scheme"]],
            given["lanes"],
            targets,
            bits=given["weight_bits"],
            activation_bits=given["activation_bits"],
            activation_signed=given["activation_signed"],
            accumulator_bits=given["accumulator_bits"],
        )

    def findings(self, planned: Sequence[Planned], measured: Sequence[Measurement]) -> Findings:
        """A row for each unit; ratios are to the uniform one of the same target and lanes."""
        rows = [
            _row(target, cast(DotProduct, design), result)
            for (target, design), result in zip(planned, measured, strict=True)
        ]
        baselines = {
            (row["target"], row["lanes"]): row for row in rows if row["scheme"] == MacScheme.UNIFORM
        }
        for row in rows:
            base = baselines.get((row["target"], row["lanes"]))
            for ratio, key in (("area_ratio", "area"), ("fmax_ratio", "fmax_mhz")):
                row[ratio] = _ratio(row[key], base[key]) if base else None
        return Findings(rows=rows)


def _ratio(value: object, base: object) -> float | None:
    if isinstance(value, int | float) and isinstance(base, int | float):
        return value / base
    return None


def _row(target: Target, design: DotProduct, measured: Measurement) -> dict[str, object]:
    mac, resources = design.mac, measured.resources
    return {
        "target": target.name,
        "lanes": design.lanes,
        "scheme": str(mac.scheme),
        "bits": mac.weight_bits,
        "accumulation": str(mac.accumulation),
        "style": str(mac.style),
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
