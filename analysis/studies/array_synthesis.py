"""Arrays, measured: what a product costs where channels share activations, for each dataflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import cast

from analysis.studies.study import FMAX, RESOURCES, Findings, Heading, Planned, Study, area_of
from rtl.array.design import Array
from rtl.array.kinds import ArrayKind, Dataflow
from rtl.quantizer.of_layer import LayerUnits
from rtl.synthesis.measure import Measurement
from rtl.targets.target import Target
from rtl.units import operands
from rtl.units.array import CHANNELS, KIND, LANES, WINDOW
from rtl.units.option import ALL, Given, default_of

__all__ = ["ArrayStudy", "arrays"]


def arrays(
    kinds: Iterable[ArrayKind],
    lanes: Iterable[int],
    channels: Iterable[int],
    targets: Iterable[Target],
    *,
    activation_bits: int = 4,
    accumulator_bits: int = 24,
    windows: Iterable[int] = (0,),
) -> list[Planned]:
    """The arrays to measure, each built for its target.

    Parameters
    ----------
    kinds : iterable of ArrayKind
        Schemes, products and sums.
    lanes : iterable of int
        Products of a channel in a cycle.
    channels : iterable of int
        Output channels.
    targets : iterable of Target
        What the arrays are for.
    activation_bits : int
        2 to 8.
    accumulator_bits : int
        Width of the sums.
    windows : iterable of int
        Of ordered kinds: the activations that indices select from; 0 for activations from outside.
        Other kinds have none.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    return [
        (
            target,
            Array(
                kind=kind,
                lanes=lane_count,
                channels=channel_count,
                activation_bits=activation_bits,
                accumulator_bits=accumulator_bits,
                window=window,
                registered=target.has_free_registers,
                cells=target.cells,
            ),
        )
        for target, lane_count, channel_count, kind in product(targets, lanes, channels, kinds)
        for window in (windows if kind.gathers else (0,))
    ]


class ArrayStudy(Study):
    """Arrays beside the best uniform one of the same size, target and dataflow."""

    options = (
        KIND.several(ALL, f"Among {', '.join(ArrayKind)}."),
        LANES.several("16"),
        CHANNELS.several("16"),
        operands.ACTIVATION_BITS,
        operands.ACCUMULATOR_BITS.with_default(default_of(Array, "accumulator_bits")),
        WINDOW.several("0"),
    )
    peers = ("target", "lanes", "channels", "window", "dataflow")
    columns = (
        Heading("target", "target"),
        Heading("lanes", "lanes", "d"),
        Heading("channels", "channels", "d"),
        Heading("kind", "kind"),
        Heading("dataflow", "dataflow"),
        Heading("window", "window", "d"),
        Heading("latency_cyc", "latency (cycles)", "d"),
        *(heading for heading in RESOURCES if heading.key not in ("carries", "dsps")),
        Heading("area_per_mac", "area / MAC", ".1f"),
        Heading("area_ratio", "area / best uniform", ".3f"),
        FMAX,
    )

    def is_base(self, row: Mapping[str, object]) -> bool:
        """Uniform arrays."""
        return ArrayKind(str(row["kind"])).is_uniform

    def plan(
        self, given: Given, targets: Sequence[Target], layer: LayerUnits | None = None
    ) -> Sequence[Planned]:
        """Each kind in each size."""
        names = tuple(ArrayKind) if given["kind"] == ALL else given["kind"]
        return arrays(
            [ArrayKind(name) for name in names],
            given["lanes"],
            given["channels"],
            targets,
            activation_bits=given["activation_bits"],
            accumulator_bits=given["accumulator_bits"],
            windows=given["window"],
        )

    def findings(self, planned: Sequence[Planned], measured: Sequence[Measurement]) -> Findings:
        """A row for each array; ratios are to uniform ones of the same run and dataflow."""
        rows = [
            _row(target, cast(Array, design), result)
            for (target, design), result in zip(planned, measured, strict=True)
        ]
        for row in rows:
            best = _best_uniform(rows, row)
            row["area_ratio"] = None if best is None else cast(int, row["area"]) / best
        return Findings(rows=rows)


def _best_uniform(rows: Sequence[dict[str, object]], row: dict[str, object]) -> int | None:
    """The smallest uniform array that serves in the row's dataflow, with the same window."""
    keys = ("target", "lanes", "channels", "window")
    areas = [
        cast(int, each["area"])
        for each in rows
        if ArrayKind(str(each["kind"])).is_uniform
        and each["dataflow"] == row["dataflow"]
        and all(each[key] == row[key] for key in keys)
    ]
    return min(areas, default=None)


def _row(target: Target, design: Array, measured: Measurement) -> dict[str, object]:
    resources = measured.resources
    area = area_of(measured, target)
    return {
        "target": target.name,
        "lanes": design.lanes,
        "channels": design.channels,
        "kind": str(design.kind),
        "dataflow": str(Dataflow.GATHER if design.kind.gathers else Dataflow.BROADCAST),
        "window": design.window,
        "latency_cyc": design.latency_cyc,
        "area": area,
        "area_per_mac": area / (design.lanes * design.channels),
        "luts": resources.luts,
        "ffs": resources.ffs,
        "cells": measured.cells,
        "transistors": resources.transistors,
        "fmax_mhz": measured.fmax_mhz,
        "unit": design.stem,
        **resources.others,
    }
