"""What a model file tells of a network's ends: the images it takes, the maps it gives out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from asq_hw.errors import InputError
from asq_hw.modelfile.strict_json import Fields
from asq_hw.network.images import ImageSpec
from asq_hw.network.input_format import PIXELS, InputFormat
from asq_hw.network.layers import Input
from asq_hw.network.outputs import Output

__all__ = ["DECIMAL", "decode_images", "decode_outputs", "encode_images", "encode_outputs"]

DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?")
"""How a real number is written: the strict JSON of a model file has none."""

_RATIO = re.compile(r"[1-9][0-9]{0,39}(/[1-9][0-9]{0,39})?")
"""How a step is written, which is exact."""


def encode_images(images: ImageSpec) -> dict[str, object]:
    """The graph's object for the images that a network takes; reals are decimal strings."""
    fields: dict[str, object] = {
        "classes": list(images.classes),
        "mean": [repr(value) for value in images.mean],
        "std": [repr(value) for value in images.std],
    }
    if images.format.step != PIXELS.step:
        fields["step"] = str(images.format.step)
    return fields


def encode_outputs(outputs: Sequence[Output]) -> list[dict[str, object]]:
    """The graph's objects for the maps that a network gives out."""
    return [
        {"name": output.name, "layer": output.layer, "scores": output.is_scores}
        for output in outputs
    ]


def decode_images(fields: Fields, layer: Input) -> ImageSpec:
    """The images that the graph's object describes, of the shape that its input takes.

    Raises
    ------
    InputError
        If a field is missing, unknown, of another type, or out of its range.
    """
    images = ImageSpec(
        shape=layer.shape,
        mean=_decode_reals(fields, "mean"),
        std=_decode_reals(fields, "std"),
        classes=tuple(fields.string_list("classes")),
        format=_decode_input_format(fields, layer),
    )
    fields.finish()
    return images


def _decode_input_format(fields: Fields, layer: Input) -> InputFormat:
    """The input's integers and what they stand for; a step is told where it is not 1 / 255."""
    if not fields.has("step"):
        return InputFormat(bits=layer.bits, signed=layer.signed, step=PIXELS.step)
    text = fields.string("step")
    if not _RATIO.fullmatch(text):
        raise InputError(f"{fields.what}: step must be a ratio of two numbers, not {text[:40]!r}")
    if (step := Fraction(text)) == PIXELS.step:
        raise InputError(f"{fields.what}: step must not stand where it is {PIXELS.step}")
    return InputFormat(bits=layer.bits, signed=layer.signed, step=step)


def _decode_reals(fields: Fields, name: str) -> tuple[float, ...]:
    """Decimal strings as the nearest floats."""
    texts = fields.string_list(name)
    for text in texts:
        if not DECIMAL.fullmatch(text):
            raise InputError(f"{fields.what}: {name} must hold decimal numbers, not {text[:40]!r}")
    return tuple(float(text) for text in texts)


def decode_outputs(values: Sequence[object]) -> tuple[Output, ...]:
    """The outputs that objects of the graph describe.

    Raises
    ------
    InputError
        If there is none, or a field is missing, unknown or of another type.
    """
    if not values:
        raise InputError("outputs must not be empty")
    made = []
    for number, value in enumerate(values, start=1):
        fields = Fields(f"output {number}", value)
        made.append(
            Output(
                name=fields.string("name"),
                layer=fields.string("layer"),
                is_scores=fields.boolean("scores"),
            )
        )
        fields.finish()
    return tuple(made)
