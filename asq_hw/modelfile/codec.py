"""Layers as JSON objects and named tensors, and back (docs/arithmetic.md, section 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol, assert_never

from numpy.typing import NDArray

from asq_hw.errors import InputError, citing
from asq_hw.modelfile.strict_json import Fields
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Conv,
    FeatureFormat,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    MaxPool,
    Relu,
    layer_sources,
)
from asq_hw.numbers.grids import Encoding, Grid, Scheme
from asq_hw.numbers.validation import check_name

__all__ = [
    "DECIMAL",
    "NamedTensors",
    "TensorSource",
    "decode_images",
    "decode_layer",
    "encode_images",
    "encode_layer",
]

NamedTensors = dict[str, tuple[str, NDArray[Any]]]
"""Type in the file (``I16``, ...) and values, by name."""

_KINDS: Mapping[type[Layer], str] = {
    Input: "input",
    Conv: "conv",
    Linear: "linear",
    Add: "add",
    Relu: "relu",
    Flatten: "flatten",
    MaxPool: "max_pool",
    AveragePool: "average_pool",
    GlobalAveragePool: "global_average_pool",
}


_CODE_TYPE = "U8"
"""Of weight codes: grids with codes of 9 bits span more than a network's weights may."""


class TensorSource(Protocol):
    """Where `decode_layer` takes tensors from."""

    def take(self, name: str, dtype: str, rank: int) -> NDArray[Any]:
        """The named tensor; InputError if it is missing or of another type or rank."""


DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?")
"""How a real number is written: the strict JSON of a model file has none."""

# Writing


def encode_images(images: ImageSpec) -> dict[str, object]:
    """The graph's object for the images that a network takes; reals are decimal strings."""
    return {
        "classes": list(images.classes),
        "mean": [repr(value) for value in images.mean],
        "std": [repr(value) for value in images.std],
    }


def encode_layer(layer: Layer) -> tuple[dict[str, object], NamedTensors]:
    """The layer's object in the graph and its tensors."""
    fields: dict[str, object] = {"kind": _KINDS[type(layer)], "name": layer.name}
    if not isinstance(layer, Input):
        fields["sources"] = list(layer_sources(layer))
    tensors: NamedTensors = {}
    match layer:
        case Input():
            fields |= {"height": layer.height, "width": layer.width, "shift": layer.shift}
            fields["output"] = _encode_format(layer.output)
            tensors["multiplier"] = ("I32", layer.multiplier)
            tensors["offset"] = ("I32", layer.offset)
        case Conv():
            fields |= _encode_weighted(layer, tensors)
            fields |= {"stride": list(layer.stride), "padding": list(layer.padding)}
            fields["groups"] = layer.groups
        case Linear():
            fields |= _encode_weighted(layer, tensors)
        case Relu():
            fields["maximum"] = layer.maximum
        case MaxPool():
            fields |= _encode_window(layer)
        case AveragePool():
            fields |= _encode_window(layer)
            fields |= {"multiplier": layer.multiplier, "shift": layer.shift}
        case GlobalAveragePool():
            fields |= {"multiplier": layer.multiplier, "shift": layer.shift}
        case Add() | Flatten():
            pass
        case _:
            assert_never(layer)
    return fields, {f"{layer.name}/{field}": tensor for field, tensor in tensors.items()}


def _encode_format(output: FeatureFormat) -> dict[str, object]:
    return {"bits": output.bits, "fraction_bits": output.fraction_bits}


def _encode_window(layer: MaxPool | AveragePool) -> dict[str, object]:
    return {
        "kernel_size": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
    }


def _encode_weighted(layer: Conv | Linear, tensors: NamedTensors) -> dict[str, object]:
    grid = layer.weight_grid
    tensors["weight_codes"] = (_CODE_TYPE, layer.weight_codes)
    tensors["multiplier"] = ("I16", layer.multiplier)
    tensors["bias"] = ("I32", layer.bias)
    return {
        "quantizer": _encode_quantizer(layer.quantizer, tensors),
        "weights": {"scheme": grid.scheme, "bits": grid.bits, "encoding": grid.encoding},
        "narrow_shift": layer.narrow_shift,
        "shift": layer.shift,
        "output": _encode_format(layer.output),
    }


def _encode_quantizer(quantizer: ActivationQuantizer, tensors: NamedTensors) -> dict[str, object]:
    fields: dict[str, object] = {
        "bits": quantizer.grid.bits,
        "signed": quantizer.grid.signed,
        "step_fraction_bits": quantizer.step_fraction_bits,
    }
    step = quantizer.step
    match step:
        case FixedStep():
            fields["step"] = step.step
        case AdaptiveStep():
            fields["adapter"] = {
                "pool_multiplier": step.pool_multiplier,
                "pool_shift": step.pool_shift,
                "stages": [_encode_stage(stage) for stage in step.stages],
            }
            for index, stage in enumerate(step.stages):
                tensors[f"adapter.{index}.weight"] = ("I8", stage.weight)
                tensors[f"adapter.{index}.bias"] = ("I32", stage.bias)
        case _:
            assert_never(step)
    return fields


def _encode_stage(stage: AdapterStage) -> dict[str, object]:
    return {
        "multiplier": stage.multiplier,
        "shift": stage.shift,
        "minimum": stage.minimum,
        "maximum": stage.maximum,
    }


# Reading


def decode_images(fields: Fields, layer: Input) -> ImageSpec:
    """The images that the graph's object describes, of the shape that its input takes.

    Raises
    ------
    InputError
        If a field is missing, unknown, of another type, or out of its range.
    """
    images = ImageSpec(
        shape=(layer.channels, layer.height, layer.width),
        mean=_decode_reals(fields, "mean"),
        std=_decode_reals(fields, "std"),
        classes=tuple(fields.string_list("classes")),
    )
    fields.finish()
    return images


def _decode_reals(fields: Fields, name: str) -> tuple[float, ...]:
    """Decimal strings as the nearest floats."""
    texts = fields.string_list(name)
    for text in texts:
        if not DECIMAL.fullmatch(text):
            raise InputError(f"{fields.what}: {name} must hold decimal numbers, not {text[:40]!r}")
    return tuple(float(text) for text in texts)


def decode_layer(value: object, number: int, tensors: TensorSource) -> Layer:
    """The layer that an object of the graph describes, the `number`-th in it.

    Raises
    ------
    InputError
        If a field or tensor is missing, unknown, of another type, or out of its range.
    """
    fields = Fields(f"layer {number}", value)
    kind = fields.string("kind")
    name = check_name(fields.string("name"))
    fields.what = name
    try:
        layer = _decode_kind(kind, name, fields, tensors)
        fields.finish()
    except InputError as error:
        prefix = "" if str(error).startswith((f"{name}:", f"{name} ")) else f"{name}: "
        known = kind in _KINDS.values()
        rule = error.rule or (f"R-{kind.replace('_', '-')}" if known else None)
        raise InputError(f"{prefix}{error}", rule=rule) from None
    return layer


def _decode_kind(kind: str, name: str, fields: Fields, tensors: TensorSource) -> Layer:
    match kind:
        case "input":
            return Input(
                name=name,
                height=fields.integer("height"),
                width=fields.integer("width"),
                shift=fields.integer("shift"),
                output=_decode_format(fields),
                multiplier=tensors.take(f"{name}/multiplier", "I32", 1),
                offset=tensors.take(f"{name}/offset", "I32", 1),
            )
        case "conv":
            return Conv(
                **_decode_weighted(name, fields, tensors, rank=4),
                stride=fields.pair("stride"),
                padding=fields.pair("padding"),
                groups=fields.integer("groups"),
            )
        case "linear":
            return Linear(**_decode_weighted(name, fields, tensors, rank=2))
        case "add":
            first, second = fields.strings("sources", 2)
            return Add(name=name, sources=(first, second))
        case "relu":
            maximum = fields.optional_integer("maximum")
            return Relu(name=name, source=_decode_source(fields), maximum=maximum)
        case "flatten":
            return Flatten(name=name, source=_decode_source(fields))
        case "max_pool":
            return MaxPool(name=name, source=_decode_source(fields), **_decode_window(fields))
        case "average_pool":
            return AveragePool(
                name=name,
                source=_decode_source(fields),
                **_decode_window(fields),
                multiplier=fields.integer("multiplier"),
                shift=fields.integer("shift"),
            )
        case "global_average_pool":
            return GlobalAveragePool(
                name=name,
                source=_decode_source(fields),
                multiplier=fields.integer("multiplier"),
                shift=fields.integer("shift"),
            )
        case _:
            known = ", ".join(_KINDS.values())
            raise InputError(f"kind must be one of {known}, not {kind[:80]!r}")


def _decode_source(fields: Fields) -> str:
    return fields.strings("sources", 1)[0]


def _decode_format(fields: Fields) -> FeatureFormat:
    with citing("R-output"):
        output = fields.nested("output")
        made = FeatureFormat(
            bits=output.integer("bits"), fraction_bits=output.integer("fraction_bits")
        )
        output.finish()
    return made


def _decode_window(fields: Fields) -> dict[str, tuple[int, int]]:
    return {name: fields.pair(name) for name in ("kernel_size", "stride", "padding")}


def _decode_weighted(
    name: str, fields: Fields, tensors: TensorSource, *, rank: int
) -> dict[str, Any]:
    """The arguments that `Conv` and `Linear` share."""
    with citing("R-weights"):
        grid = _decode_weight_grid(fields)
    with citing("R-quantizer"):
        quantizer = _decode_quantizer(name, fields.nested("quantizer"), tensors)
    return {
        "name": name,
        "source": _decode_source(fields),
        "quantizer": quantizer,
        "weight_grid": grid,
        "weight_codes": tensors.take(f"{name}/weight_codes", _CODE_TYPE, rank),
        "multiplier": tensors.take(f"{name}/multiplier", "I16", 1),
        "bias": tensors.take(f"{name}/bias", "I32", 1),
        "narrow_shift": fields.integer("narrow_shift"),
        "shift": fields.integer("shift"),
        "output": _decode_format(fields),
    }


def _decode_weight_grid(fields: Fields) -> Grid:
    weights = fields.nested("weights")
    scheme, encoding = weights.string("scheme"), weights.string("encoding")
    if scheme not in list(Scheme):
        raise InputError(f"scheme must be one of {', '.join(Scheme)}, not {scheme[:80]!r}")
    if encoding not in list(Encoding):
        raise InputError(f"encoding must be one of {', '.join(Encoding)}, not {encoding[:80]!r}")
    grid = Grid(scheme=Scheme(scheme), bits=weights.integer("bits"), encoding=Encoding(encoding))
    weights.finish()
    return grid


def _decode_quantizer(name: str, fields: Fields, tensors: TensorSource) -> ActivationQuantizer:
    grid = Grid(scheme=Scheme.UNIFORM, bits=fields.integer("bits"), signed=fields.boolean("signed"))
    step: FixedStep | AdaptiveStep
    if fields.has("adapter"):
        with citing("R-adapter"):
            step = _decode_adapter(name, fields.nested("adapter"), tensors)
    else:
        step = FixedStep(step=fields.integer("step"))
    fraction_bits = fields.integer("step_fraction_bits")
    fields.finish()
    return ActivationQuantizer(grid=grid, step=step, step_fraction_bits=fraction_bits)


def _decode_adapter(name: str, fields: Fields, tensors: TensorSource) -> AdaptiveStep:
    stages = []
    for index, value in enumerate(fields.array("stages")):
        with citing("R-stage"):
            stages.append(
                _decode_stage(Fields(f"{fields.what}: stage {index}", value), name, index, tensors)
            )
    step = AdaptiveStep(
        pool_multiplier=fields.integer("pool_multiplier"),
        pool_shift=fields.integer("pool_shift"),
        stages=tuple(stages),
    )
    fields.finish()
    return step


def _decode_stage(fields: Fields, name: str, index: int, tensors: TensorSource) -> AdapterStage:
    stage = AdapterStage(
        weight=tensors.take(f"{name}/adapter.{index}.weight", "I8", 2),
        bias=tensors.take(f"{name}/adapter.{index}.bias", "I32", 1),
        multiplier=fields.integer("multiplier"),
        shift=fields.integer("shift"),
        minimum=fields.integer("minimum"),
        maximum=fields.integer("maximum"),
    )
    fields.finish()
    return stage
