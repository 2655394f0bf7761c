"""A unit of a network's layer on what it meets there, and its twins that are one bit too narrow."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.fixedpoint import integer_range
from rtl.design import Design, Port
from rtl.emit.vectors import Vectors
from rtl.quantizer.of_layer import LayerUnits
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.met import Extent, Meets, Met
from rtl.verify.mutation import narrow_words
from rtl.verify.simulation import simulate
from rtl.verify.traced import images_for, trace

__all__ = ["check_in_network", "met_by", "misfit", "narrow_inputs"]


def check_in_network(
    meets: Meets, design: Design, units: LayerUnits, extent: Extent
) -> list[Check]:
    """Simulator's tensors = software model = emitted Verilog, and narrower twins are noticed.

    Parameters
    ----------
    meets : callable
        What a unit of this kind meets.
    design : Design
        The unit, as it is to be built.
    units : LayerUnits
        Network and layer that it belongs to.
    extent : Extent
        How much of the network's tensors; `images_for` chooses the images.
    """
    met = met_by(meets, units, images_for(units.network, extent.images), extent)
    name = f"{design.name} in {units.layer.name}"
    return [
        timed(f"{name} tensors", Method.NETWORK, partial(_tensors, design, met)),
        timed(f"{name} narrower", Method.NETWORK, partial(narrow_inputs, design, met)),
    ]


def met_by(
    meets: Meets, units: LayerUnits, images: NDArray[np.uint8], extent: Extent | None = None
) -> Met:
    """What a unit of the layer meets when the network runs on images.

    Parameters
    ----------
    meets : callable
        What a kind of unit takes of a layer's tensors.
    units : LayerUnits
        The layer.
    images : uint8 array of shape (N, C, H, W)
    extent : Extent, optional
        How much of the tensors; None: a part that is drawn.
    """
    return meets(units, trace(units, images, extent), np.random.default_rng(8))


def misfit(design: Design, met: Met) -> str:
    """What the unit meets that a port cannot carry; empty where all fit."""
    for port in design.inputs:
        low, high = port.range
        values = met.rows[port.name]
        beyond = (values < low) | (values > high)
        if beyond.any():
            value = int(values[np.flatnonzero(beyond)[0]])
            return f"{port.name} must carry {value}, and has {port.width} bits"
    return ""


def _tensors(design: Design, met: Met) -> Outcome:
    output = design.outputs[0].name
    wrong = misfit(design, met)
    answers = design.reference(met.rows)[output]
    if not wrong and not np.array_equal(answers[met.known], met.expected[met.known]):
        wrong = f"{output}: software model and the network's tensors differ"
    if wrong:
        return Outcome(cases=met.traced, passed=False, detail=wrong)
    vectors = Vectors.of(design, met.rows)
    result = simulate({design: vectors})[design]
    detail = f"{met.traced} of them the network's own tensors; {result.verdict}"
    return Outcome(cases=vectors.checked, passed=result.passed and met.traced > 0, detail=detail)


def narrow_inputs(design: Design, met: Met) -> Outcome:
    """Whether the same operations tell the unit from one whose inputs lack their highest bit.

    An input that carries nothing which needs that bit is left out: it has one to spare.
    """
    if wrong := misfit(design, met):
        return Outcome(cases=0, passed=False, detail=wrong)
    needed = {port.name for port in design.inputs if _needs_highest_bit(port, met)}
    words = narrow_words(design, Vectors.of(design, met.rows), inputs=needed)
    missed = [word.name for word, told in words.items() if not told]
    detail = (
        f"a bit less is not noticed at {', '.join(missed)}"
        if missed
        else f"a bit less is noticed at each of {', '.join(word.name for word in words)}"
    )
    return Outcome(cases=len(words), passed=not missed, detail=detail)


def _needs_highest_bit(port: Port, met: Met) -> bool:
    if port.width == 1:
        return False
    low, high = integer_range(port.width - 1, signed=port.signed)
    values = met.rows[port.name]
    return bool(((values < low) | (values > high)).any())
