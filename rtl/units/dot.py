"""The dot-product unit as a kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asq_hw.errors import InputError
from rtl.design import Design
from rtl.mac.design import Mac
from rtl.mac.dot_product import MAX_LANES, DotProduct
from rtl.mac.parameters import MAX_ACCUMULATOR_BITS
from rtl.mac.schemes import MacScheme
from rtl.quantizer.of_layer import LayerUnits, at_least, exactly
from rtl.units import operands
from rtl.units.features import stated
from rtl.units.option import REQUIRED, Given, Option, default_of
from rtl.units.unit import Effort, LayerUse, Rungs, Unit, of_each
from rtl.verify.checks import Check, Method
from rtl.verify.dot_product import DOT_OPERATIONS, cosim_dot_product

__all__ = ["DOT", "LANES"]

LANES = Option(
    name="lanes",
    flags=("--lanes",),
    default=REQUIRED,
    help=f"Products in a cycle, 1 to {MAX_LANES}.",
)
_SCHEME = operands.SCHEME.with_default(None, f"{operands.SCHEME.help} Or the layer's.")
_OF_LAYER = tuple(
    option.with_default(None, f"{option.help} Default: {usual}, or the layer's.")
    for option, usual in (
        (operands.ACTIVATION_BITS, default_of(Mac, "activation_bits")),
        (operands.ENCODING, default_of(Mac, "encoding")),
        (operands.ACCUMULATOR_BITS, default_of(Mac, "accumulator_bits")),
    )
)
_WEIGHT_BITS = operands.WEIGHT_BITS.with_default(
    None,
    f"{operands.WEIGHT_BITS.help} Default: {default_of(Mac, 'weight_bits')}, or the layer's.",
)


class _DotUnit(Unit):
    """Several products each cycle, an adder tree and accumulators."""

    name = "dot"
    title = "a dot-product unit"
    purpose = "several products each cycle, an adder tree, accumulators"
    options = (
        _SCHEME,
        _WEIGHT_BITS,
        LANES,
        *_OF_LAYER,
        operands.ACTIVATION_SIGNED,
        operands.STYLE,
        operands.CODES,
        operands.ACCUMULATION.with_default(None, "post-split: pair or ordered sums."),
        operands.SIGNS,
    )
    verify_options = (*options[:2], LANES.with_default(4), *options[3:])
    examples = (
        "asq-hw rtl dot --scheme post-split --weight-bits 4 --lanes 8 -o build/dot",
        (
            "asq-hw verify dot --scheme post-split --weight-bits 4 --lanes 2 "
            "--method cosim --cycles 100000"
        ),
        ("asq-hw synth dot --scheme uniform,post-split --weight-bits 4 --lanes 8 --target gates"),
    )
    operations = DOT_OPERATIONS
    layer = LayerUse.OPTIONAL

    def design(self, given: Given, layer: LayerUnits | None = None) -> DotProduct:
        """The unit, around the products of a multiply-accumulate unit."""
        fields = dict(given)
        lanes = fields.pop("lanes")
        if layer is not None:
            mac = _of_layer(fields, lanes, layer)
            return DotProduct(mac=mac, lanes=lanes, layer=layer.layer.name)
        if fields["scheme"] is None:
            raise InputError("scheme must be named where there is no layer")
        return DotProduct(mac=Mac(**stated(fields)), lanes=lanes)

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """The long run is held against sums of the oracle's products; a layer's, against traced."""
        rungs = {
            **super().rungs(designs, given, effort, layer),
            Method.COSIM: lambda: of_each(designs, cosim_dot_product, operations=effort.operations),
        }
        if layer is not None:
            rungs[Method.NETWORK] = lambda: _in_network(designs, layer, effort)
        return rungs


def _in_network(designs: Sequence[Design], layer: LayerUnits, effort: Effort) -> list[Check]:
    from rtl.verify.layer_sums import check_sums_in_network  # it compiles the simulator

    return of_each(designs, check_sums_in_network, units=layer, extent=effort.extent)


def _of_layer(given: Given, lanes: int, layer: LayerUnits) -> Mac:
    """Operands and accumulators that a layer has, made in the way that was asked for."""
    name, grid, codes = layer.layer.name, layer.layer.weight_grid, layer.layer.quantizer.grid
    scheme = MacScheme.for_product(grid.scheme, layer.product.kind)
    if given["scheme"] not in (None, scheme):
        raise InputError(f"scheme of layer {name} must be {scheme}, not {given['scheme']}")
    if given["activation_signed"] and not codes.signed:
        raise InputError(f"activation codes of layer {name} must be unsigned, not signed")
    encoding = given["encoding"]
    if encoding not in (None, grid.encoding):
        raise InputError(f"encoding of layer {name} must be {grid.encoding}, not {encoding}")
    width = at_least(
        "accumulator bits",
        given["accumulator_bits"],
        max(bound.bits for bound in layer.sums),
        name,
    )
    mac = Mac(
        scheme=scheme,
        weight_bits=exactly("weight bits", given["weight_bits"], grid.bits, name),
        activation_bits=exactly("activation bits", given["activation_bits"], codes.bits, name),
        activation_signed=codes.signed,
        encoding=grid.encoding,
        lut_fraction_bits=layer.product.lut_fraction_bits,
        accumulator_bits=MAX_ACCUMULATOR_BITS,
        style=given["style"],
        codes=given["codes"],
        accumulation=given["accumulation"],
        signs=given["signs"],
    )
    missing = set(layer.layer.weight_codes.reshape(-1).tolist()) - set(mac.weight_codes.values())
    if missing:
        raise InputError(
            f"codes {mac.codes} have no place for weight code {min(missing)} of layer {name}"
        )
    # What all lanes add in a cycle has to fit, too, whatever the layer's own weights are.
    narrowest = Mac.for_length(lanes, mac).accumulator_bits
    return replace(mac, accumulator_bits=max(width, narrowest))


DOT = _DotUnit()
