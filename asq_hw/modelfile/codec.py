"""Layers as JSON objects and named tensors, and back (docs/arithmetic.md, section 7).

Which fields a layer has, and in what form, is declared by its class; this is what each form looks
like in a file.
"""

from __future__ import annotations

from typing import Any, Protocol, assert_never

from numpy.typing import NDArray

from asq_hw.errors import InputError, citing
from asq_hw.modelfile.strict_json import Fields
from asq_hw.network.activation import (
    ActivationQuantizer,
    AdapterStage,
    AdaptiveStep,
    FixedStep,
    Step,
)
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import LAYER_KINDS, Layer
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.weighted import WeightedLayer
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.names import check_name
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM, scheme_named

__all__ = [
    "NamedTensors",
    "TensorSource",
    "decode_layer",
    "encode_layer",
]

NamedTensors = dict[str, tuple[str, NDArray[Any]]]
"""Type in the file (``I16``, ...) and values, by name."""

_CODE_TYPE = "U8"
"""Of weight codes: grids with codes of 9 bits span more than a network's weights may."""


class TensorSource(Protocol):
    """Where `decode_layer` takes tensors from."""

    def take(self, name: str, dtype: str, rank: int) -> NDArray[Any]:
        """The named tensor; InputError if it is missing or of another type or rank."""


# Writing


def encode_layer(layer: Layer) -> tuple[dict[str, object], NamedTensors]:
    """The layer's object in the graph and its tensors."""
    fields: dict[str, object] = {"kind": layer.kind, "name": layer.name}
    tensors: NamedTensors = {}
    optional = layer.optional_fields()
    for name, stored in layer.stored_fields().items():
        value = getattr(layer, name)
        if name not in optional or value != optional[name]:
            _encode_field(stored, value, fields, tensors)
    return fields, {f"{layer.name}/{key}": tensor for key, tensor in tensors.items()}


def _encode_field(
    stored: Stored, value: Any, fields: dict[str, object], tensors: NamedTensors
) -> None:
    key = stored.key
    match stored.form:
        case Form.SOURCE:
            fields[key] = [value]
        case Form.SOURCES | Form.PAIR:
            fields[key] = list(value)
        case Form.INTEGER | Form.BOOLEAN | Form.OPTIONAL_INTEGER:
            fields[key] = value
        case Form.FORMAT:
            fields[key] = {"bits": value.bits, "fraction_bits": value.fraction_bits}
        case Form.WEIGHT_GRID:
            fields[key] = {
                "scheme": str(value.scheme),
                "bits": value.bits,
                "encoding": value.encoding,
            }
        case Form.QUANTIZER:
            fields[key] = _encode_quantizer(value, tensors)
        case Form.WEIGHT_CODES:
            tensors[key] = (_CODE_TYPE, value)
        case Form.VECTOR16:
            tensors[key] = ("I16", value)
        case Form.VECTOR32 | Form.MATRIX32:
            tensors[key] = ("I32", value)
        case _:
            assert_never(stored.form)


def _encode_grid(grid: Grid) -> dict[str, object]:
    return {"scheme": grid.scheme.name, "bits": grid.bits, "encoding": grid.encoding}


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
        case LogLinearStep():
            fields["log_linear"] = {
                "pool_multiplier": step.pool_multiplier,
                "pool_shift": step.pool_shift,
                "multiplier": step.multiplier,
                "shift": step.shift,
                "offset": step.offset,
                "minimum": step.lowest,
                "maximum": step.highest,
            }
            tensors["log_linear.weight"] = ("I8", step.weight)
        case SharedExponentStep():
            fields["shared_exponent"] = {"minimum": step.lowest, "maximum": step.highest}
        case SharedAdapterStep():
            fields["shared_adapter"] = {
                "layer": step.layer,
                "multiplier": step.multiplier,
                "shift": step.shift,
                "minimum": step.minimum,
                "maximum": step.maximum,
            }
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
    made = LAYER_KINDS.get(kind)
    try:
        if made is None:
            known = ", ".join(LAYER_KINDS)
            raise InputError(f"kind must be one of {known}, not {kind[:80]!r}")
        layer = made(name=name, **_decode_fields(made, name, fields, tensors))
        fields.finish()
    except InputError as error:
        prefix = "" if str(error).startswith((f"{name}:", f"{name} ")) else f"{name}: "
        rule = error.rule or (None if made is None else made.rule())
        raise InputError(f"{prefix}{error}", rule=rule) from None
    return layer


def _decode_fields(
    kind: type[Layer], name: str, fields: Fields, tensors: TensorSource
) -> dict[str, Any]:
    """The arguments that a layer of the kind is made with, but for its name."""
    rank = kind.weight_rank if issubclass(kind, WeightedLayer) else 0
    optional = kind.optional_fields()
    decoded = {
        field: _decode_field(stored, name, rank, fields, tensors)
        for field, stored in kind.stored_fields().items()
        if field not in optional or fields.has(stored.key)
    }
    for field, value in decoded.items():
        if field in optional and value == optional[field]:
            raise InputError(f"{name}: {field} must not stand where it is {value}")
    return decoded


def _decode_field(
    stored: Stored, name: str, rank: int, fields: Fields, tensors: TensorSource
) -> object:
    key = stored.key
    match stored.form:
        case Form.SOURCE:
            return fields.strings(key, 1)[0]
        case Form.SOURCES:
            return tuple(fields.string_list(key))
        case Form.INTEGER:
            return fields.integer(key)
        case Form.BOOLEAN:
            return fields.boolean(key)
        case Form.OPTIONAL_INTEGER:
            return fields.optional_integer(key)
        case Form.PAIR:
            return fields.pair(key)
        case Form.FORMAT:
            with citing("R-output"):
                return _decode_format(fields.nested(key))
        case Form.WEIGHT_GRID:
            with citing("R-weights"):
                return _decode_weight_grid(fields.nested(key))
        case Form.QUANTIZER:
            with citing("R-quantizer"):
                return _decode_quantizer(name, fields.nested(key), tensors)
        case Form.WEIGHT_CODES:
            return tensors.take(f"{name}/{key}", _CODE_TYPE, rank)
        case Form.VECTOR16:
            return tensors.take(f"{name}/{key}", "I16", 1)
        case Form.VECTOR32:
            return tensors.take(f"{name}/{key}", "I32", 1)
        case Form.MATRIX32:
            return tensors.take(f"{name}/{key}", "I32", 2)
        case _:
            assert_never(stored.form)


def _decode_format(fields: Fields) -> FeatureFormat:
    made = FeatureFormat(bits=fields.integer("bits"), fraction_bits=fields.integer("fraction_bits"))
    fields.finish()
    return made


def _decode_weight_grid(weights: Fields) -> Grid:
    scheme, encoding = weights.string("scheme"), weights.string("encoding")
    family = scheme_named(scheme)
    if encoding not in list(Encoding):
        raise InputError(f"encoding must be one of {', '.join(Encoding)}, not {encoding[:80]!r}")
    grid = Grid(scheme=family, bits=weights.integer("bits"), encoding=Encoding(encoding))
    weights.finish()
    return grid


def _decode_quantizer(name: str, fields: Fields, tensors: TensorSource) -> ActivationQuantizer:
    grid = Grid(scheme=UNIFORM, bits=fields.integer("bits"), signed=fields.boolean("signed"))
    step = _decode_step(name, fields, tensors)
    fraction_bits = fields.integer("step_fraction_bits")
    fields.finish()
    return ActivationQuantizer(grid=grid, step=step, step_fraction_bits=fraction_bits)


def _decode_step(name: str, fields: Fields, tensors: TensorSource) -> Step:
    if fields.has("adapter"):
        with citing("R-adapter"):
            return _decode_adapter(name, fields.nested("adapter"), tensors)
    if fields.has("log_linear"):
        with citing("R-log-linear"):
            return _decode_log_linear(name, fields.nested("log_linear"), tensors)
    if fields.has("shared_exponent"):
        with citing("R-shared-exponent"):
            return _decode_shared_exponent(fields.nested("shared_exponent"))
    if fields.has("shared_adapter"):
        with citing("R-shared-adapter"):
            return _decode_shared_adapter(fields.nested("shared_adapter"))
    return FixedStep(step=fields.integer("step"))


def _decode_log_linear(name: str, fields: Fields, tensors: TensorSource) -> LogLinearStep:
    step = LogLinearStep(
        pool_multiplier=fields.integer("pool_multiplier"),
        pool_shift=fields.integer("pool_shift"),
        weight=tensors.take(f"{name}/log_linear.weight", "I8", 1),
        multiplier=fields.integer("multiplier"),
        shift=fields.integer("shift"),
        offset=fields.integer("offset"),
        lowest=fields.integer("minimum"),
        highest=fields.integer("maximum"),
    )
    fields.finish()
    return step


def _decode_shared_exponent(fields: Fields) -> SharedExponentStep:
    step = SharedExponentStep(lowest=fields.integer("minimum"), highest=fields.integer("maximum"))
    fields.finish()
    return step


def _decode_shared_adapter(fields: Fields) -> SharedAdapterStep:
    step = SharedAdapterStep(
        layer=fields.string("layer"),
        multiplier=fields.integer("multiplier"),
        shift=fields.integer("shift"),
        minimum=fields.integer("minimum"),
        maximum=fields.integer("maximum"),
    )
    fields.finish()
    return step


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
