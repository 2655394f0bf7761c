"""The multiply-accumulate unit as a design: its circuit and its software model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from types import MappingProxyType

import numpy as np
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import InputError
from rtl.design import Parameter, Rows
from rtl.mac.codes import Codes
from rtl.mac.combinations import MAX_PIPELINE
from rtl.mac.component import MacComponent, latency_cyc
from rtl.mac.parameters import SEGMENT_COUNTS, MacParameters, Term, met_by, term_table
from rtl.mac.schemes import Accumulation, Clear, Style
from rtl.mac.serial import SerialMacComponent, serial_excess, serial_latency_cyc
from rtl.mac.units import unit_class
from rtl.pace import Pause
from rtl.rules import IDLE, Rules

__all__ = ["Mac", "wrapped"]


@dataclass(frozen=True, kw_only=True)
class Mac(MacParameters):
    """A multiply-accumulate unit that takes one product each cycle; style ``serial`` takes longer.

    ``accumulator``, or ``even`` and ``odd``, hold the exact sum of the products
    since the last one that came with ``start``, over the weight grid's common shift. After a
    reset, sums begin at 0. With `accumulation` ``ordered`` a sum means something where its products
    are all even or all odd. With `signs` ``deferred`` each is too large by the `excess` of its
    weights, modulo its width, so that it is exact once that is taken off.

    Parameters are those of `MacParameters`.

    Examples
    --------
    >>> from rtl.mac.schemes import MacScheme
    >>> mac = Mac(scheme=MacScheme.UNIFORM)  # 24 bits for sums of products of -120 to 105
    >>> mac.length == 2**23 // 120
    True
    >>> rows = {"start": [1, 0], "activation": [3, 2], "weight": [5, 7]}
    >>> sums = mac.reference({name: np.array(values) for name, values in rows.items()})
    >>> sums["accumulator"].tolist()
    [15, 29]
    """

    def variants(self) -> list[Mac]:
        """Every way to build a unit with the same operands and sums."""
        made = []
        for style, codes, accumulation, clear, pipeline, segments in product(
            Style, Codes, Accumulation, Clear, range(MAX_PIPELINE + 1), SEGMENT_COUNTS
        ):
            changed = self.variant(
                style=style,
                codes=codes,
                accumulation=accumulation,
                clear=clear,
                pipeline=pipeline,
                segments=segments,
            )
            made += [] if changed is None else [changed]
        return made

    def variant(self, **choices: object) -> Mac | None:
        """The same operands and sums, built in another way; None where that does not exist."""
        try:
            return replace(self, **choices)  # type: ignore[arg-type]
        except InputError:
            return None

    @property
    def title(self) -> str:
        """One line for people."""
        signed = "signed" if self.activation_signed else "unsigned"
        return (
            f"Multiply-accumulate unit: {self.weight_grid} weights ({self.scheme}), "
            f"{self.activation_bits}-bit {signed} activations"
        )

    @property
    def latency_cyc(self) -> int:
        """Cycles from the edge that takes a product to the edge at which its sum is read."""
        return serial_latency_cyc(self) if self.style is Style.SERIAL else latency_cyc(self)

    @property
    def interval_cyc(self) -> int:
        """Cycles from one product to the next: 1, or the weight's bits where it is bit-serial."""
        return self.weight_bits if self.style is Style.SERIAL else 1

    @property
    def excess(self) -> Mapping[int, Term]:
        """What deferred signs add to each sum beside the product, by the weight's code."""
        return _excess(self)

    @property
    def excess_by_code(self) -> dict[str, dict[int, int]]:
        """The same by output; empty where signs are not deferred."""
        if not self.defers:
            return {}
        return {
            port.name: {code: terms[i] for code, terms in self.excess.items()}
            for i, port in enumerate(self.accumulators)
        }

    @property
    def settle_cyc(self) -> int:
        """What is on its way at a reset is let pass where starts clear the sum meanwhile."""
        return self.latency_cyc if self.is_reset_by_starts else 0

    @property
    def running(self) -> dict[str, str]:
        """The pair that takes turns, where another one is shown."""
        is_pair = self.accumulation is Accumulation.SHARED and self.clear is Clear.AHEAD
        return {port.name: f"{port.name}_sum" for port in self.accumulators if is_pair}

    @property
    def pause(self) -> Pause | None:
        """A cycle in which the sum can be cleared."""
        if self.clear is not Clear.IDLE:
            return None
        return Pause(after="the last product of a sum", idle_cyc=1)

    def pauses(self, inputs: Rows) -> NDArray[np.bool_]:
        """Where the next product begins a sum."""
        if self.clear is not Clear.IDLE:
            return super().pauses(inputs)
        pauses: NDArray[np.bool_] = np.append(inputs["start"][1:], 0) != 0
        return pauses

    @property
    def rules(self) -> Rules:
        """A sum begins behind a cycle without a product."""
        if self.clear is not Clear.IDLE:
            return super().rules
        return Rules(allowed=f"!start || {IDLE}")

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What the unit was made with, and the length that follows."""
        extra: dict[str, Parameter] = (
            {"lut_fraction_bits": self.lut_fraction_bits} if self.scheme.rounds else {}
        )
        return {
            "scheme": str(self.scheme),
            "weight_bits": self.weight_bits,
            "weight_encoding": str(self.encoding),
            "activation_bits": self.activation_bits,
            "activation_signed": self.activation_signed,
            "accumulator_bits": self.accumulator_bits,
            "longest_sum": self.length,
            "style": str(self.style),
            "accumulation": str(self.accumulation),
            "clear": str(self.clear),
            "pipeline": self.pipeline,
            "segments": self.segments,
            **extra,
            **({} if self.codes is Codes.STORED else {"codes": str(self.codes)}),
            **({"signs": str(self.signs)} if self.defers else {}),
            **({"cells": self.cells.name} if self.cells else {}),
        }

    def component(self) -> wiring.Component:
        """The circuit: a `MacComponent`, or a `SerialMacComponent`."""
        return SerialMacComponent(self) if self.style is Style.SERIAL else MacComponent(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The sums after each product, from the grid's integers and what deferred signs add."""
        weights = inputs["weight"]
        met = inputs["activation"]
        if "second" in self.operands:
            met = np.where(_meets_second(self)[weights], inputs["second"], met)
        terms = _dense_terms(self)[met - _least_code(self), weights]
        running = np.cumsum(terms, axis=0)
        # What had been summed before the sum began that each row belongs to; 0 after a reset.
        rows = np.arange(len(terms))
        first = np.maximum.accumulate(np.where(inputs["start"] != 0, rows, 0))
        sums = running - (running - terms)[first]
        return {
            port.name: wrapped(sums[:, i], port.width) for i, port in enumerate(self.accumulators)
        }


def _dense_terms(mac: Mac) -> NDArray[np.int64]:
    """`term_table` and excess as an array: (activations, codes, accumulators).

    Invalid codes have 0.
    """
    least, most = _least_code(mac), max(codes[-1] for codes in mac.operands.values())
    codes = 1 << mac.weight_grid.stored_bits
    dense = np.zeros((most - least + 1, codes, len(mac.accumulators)), dtype=np.int64)
    for (activation, code), terms in term_table(mac).items():
        dense[activation - least, code] = terms
    for code, excess in mac.excess.items():
        dense[:, code] += np.array(excess)
    return dense


@cache
def _excess(mac: Mac) -> Mapping[int, Term]:
    sums = len(mac.accumulators)
    if not mac.defers:
        return MappingProxyType(dict.fromkeys(mac.weight_codes, (0,) * sums))
    made = serial_excess(mac) if mac.style is Style.SERIAL else unit_class(mac).excesses(mac)
    pairs, codes = mac.weight_grid.decode_table(), mac.weight_codes
    odd = {code: mac.has_pair and bool(pairs[codes[code]][1]) for code in made}
    return MappingProxyType(
        {
            code: ((0, excess) if odd[code] else (excess, 0)) if sums == 2 else (excess,)
            for code, excess in made.items()
        }
    )


def _least_code(mac: Mac) -> int:
    return min(codes[0] for codes in mac.operands.values())


def _meets_second(mac: Mac) -> NDArray[np.bool_]:
    """Of each code at the weight's port: whether it meets the activation's second code."""
    meets = np.zeros(1 << mac.weight_grid.stored_bits, dtype=np.bool_)
    for code in mac.weight_codes:
        meets[code] = met_by(mac, code) == "second"
    return meets


def wrapped(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The low `bits` bits, read as two's complement; the array form of `fixedpoint.wrap`."""
    half = np.int64(1 << (bits - 1))
    return (values + half & np.int64((1 << bits) - 1)) - half
