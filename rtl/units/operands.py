"""Options of units that multiply weights by activations."""

from __future__ import annotations

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from rtl.mac.codes import Codes
from rtl.mac.design import Mac
from rtl.mac.parameters import MAX_ACCUMULATOR_BITS
from rtl.mac.schemes import Accumulation, MacScheme, Signs, Style
from rtl.units.option import REQUIRED, Option, default_of

__all__ = [
    "ACCUMULATION",
    "ACCUMULATOR_BITS",
    "ACTIVATION_BITS",
    "ACTIVATION_SIGNED",
    "CODES",
    "ENCODING",
    "SCHEME",
    "SIGNS",
    "STYLE",
    "WEIGHT_BITS",
]

SCHEME = Option(
    name="scheme",
    flags=("--scheme", "--schemes"),
    type=str,
    metavar="S",
    choices=tuple(MacScheme),
    default=REQUIRED,
    help=f"Weight grid and product: {', '.join(MacScheme)}.",
)
WEIGHT_BITS = Option(
    name="weight_bits",
    flags=("--weight-bits", "--bits"),
    metavar="B",
    default=REQUIRED,
    help="Width of a weight.",
)
ACTIVATION_BITS = Option(
    name="activation_bits",
    flags=("--activation-bits",),
    metavar="A",
    default=default_of(Mac, "activation_bits"),
    help=f"Width of an activation, {MIN_BITS} to {MAX_BITS}.",
)
ACTIVATION_SIGNED = Option(
    name="activation_signed",
    flags=("--signed-activations", "--signed"),
    type=bool,
    default=default_of(Mac, "activation_signed"),
    help="Two's complement activations.",
)
ENCODING = Option(
    name="encoding",
    flags=("--encoding", "--grid"),
    type=str,
    metavar="|".join(Encoding),
    choices=tuple(Encoding),
    default=str(default_of(Mac, "encoding")),
    help="Levels of pot and post.",
)
ACCUMULATOR_BITS = Option(
    name="accumulator_bits",
    flags=("--accumulator-bits",),
    default=default_of(Mac, "accumulator_bits"),
    help=f"Widest accumulator, 2 to {MAX_ACCUMULATOR_BITS}.",
)
CODES = Option(
    name="codes",
    flags=("--codes",),
    type=str,
    metavar="|".join(Codes),
    choices=tuple(Codes),
    help="How weights stand at the port; see docs/mac.md.",
)
STYLE = Option(
    name="style",
    flags=("--style",),
    type=str,
    metavar="STYLE",
    choices=tuple(Style),
    help="How products are made; see docs/mac.md.",
)
ACCUMULATION = Option(
    name="accumulation",
    flags=("--accumulation",),
    type=str,
    metavar="A",
    choices=tuple(Accumulation),
    help="post-split: pair, shared or ordered sums.",
)
SIGNS = Option(
    name="signs",
    flags=("--signs",),
    type=str,
    metavar="|".join(Signs),
    choices=tuple(Signs),
    default=str(default_of(Mac, "signs")),
    help="When the sign of a weight counts; see docs/mac.md.",
)
