"""The array as a kind of unit."""

from __future__ import annotations

from collections.abc import Sequence

from rtl.array.design import MAX_CHANNELS, MAX_LANES, Array
from rtl.array.kinds import ArrayKind
from rtl.design import Design
from rtl.quantizer.of_layer import LayerUnits
from rtl.targets.registry import TARGETS
from rtl.units import operands
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import Unit

__all__ = ["ARRAY", "CHANNELS", "KIND", "LANES", "WINDOW"]

KIND = Option(
    name="kind",
    flags=("--kind", "--kinds"),
    type=str,
    metavar="K",
    choices=tuple(ArrayKind),
    default=str(ArrayKind.POST_DUAL),
    help=f"Scheme, products and sums: {', '.join(ArrayKind)}.",
)
LANES = Option(
    name="lanes",
    flags=("--lanes",),
    default=4,
    help=f"Products of a channel in a cycle, 1 to {MAX_LANES}.",
)
CHANNELS = Option(
    name="channels",
    flags=("--channels",),
    metavar="P",
    default=2,
    help=f"Output channels, 1 to {MAX_CHANNELS}.",
)
WINDOW = Option(
    name="window",
    flags=("--window",),
    metavar="W",
    default=0,
    help="Of ordered kinds: activations of an operation, of which indices select; 0: none.",
)
_ACCUMULATOR_BITS = operands.ACCUMULATOR_BITS.with_default(
    default_of(Array, "accumulator_bits"), "Width of the sums, 16 to 32."
)
_TRIED_BITS = _ACCUMULATOR_BITS.with_default(16)
"""The emitted vectors' sums go through all of such an accumulator."""
_TARGET = Option(
    name="target",
    flags=("--target",),
    type=str,
    metavar="T",
    choices=TARGETS.names,
    help="Built for this chip: with its cells, and without registers in trees where all is gates.",
)


class _ArrayUnit(Unit):
    """Channels that share the activations of a cycle."""

    name = "array"
    title = "an array of channels that share activations"
    purpose = "several dot products of the same activations, and what reads their sums"
    options = (
        KIND,
        LANES,
        CHANNELS,
        operands.ACTIVATION_BITS,
        _ACCUMULATOR_BITS,
        WINDOW,
        _TARGET,
    )
    verify_options = (
        KIND.several(str(ArrayKind.POST_DUAL)),
        *(_TRIED_BITS if option is _ACCUMULATOR_BITS else option for option in options[1:]),
    )
    examples = (
        "asq-hw rtl array --kind post-dual --lanes 4 --channels 2 -o build/array",
        "asq-hw verify array --kind post-pair --lanes 2 --channels 2 --method cosim --cycles 20000",
        "asq-hw synth array --kind uniform-15,post-dual --lanes 4 --channels 2 --target gates",
    )
    operations = 20_000

    def design(self, given: Given, layer: LayerUnits | None = None) -> Array:
        """The array, portable unless a target is named."""
        fields = dict(given)
        name = fields.pop("target", None)
        if name is None:
            return Array(**fields)
        target = TARGETS.find(name)
        return Array(**fields, cells=target.cells, registered=target.has_free_registers)

    def designs(self, given: Given, layer: LayerUnits | None = None) -> Sequence[Design]:
        """One of each kind that is named."""
        return [self.design({**given, "kind": kind}) for kind in given["kind"]]


ARRAY = _ArrayUnit()
"""The array as a kind."""
