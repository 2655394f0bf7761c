"""Parameters of a multiply-accumulate unit, its widths and its software model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Self, TypeVar

from asq_hw.errors import InputError, check_range
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.fixedpoint import signed_width
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS, Grid
from asq_hw.numbers.products import Product
from asq_hw.numbers.schemes import UNIFORM
from rtl.design import VALID_IN, VALID_OUT, Direction, MacDesign, Port
from rtl.digest import silent_at
from rtl.lib.cells import Cells
from rtl.mac.codes import Codes, port_codes
from rtl.mac.combinations import MAX_PIPELINE, check_combination
from rtl.mac.schemes import Accumulation, Clear, MacScheme, Signs, Style

__all__ = [
    "MAX_ACCUMULATOR_BITS",
    "MAX_SEGMENTS",
    "SEGMENT_COUNTS",
    "MacParameters",
    "Term",
    "met_by",
    "term_table",
]

MAX_ACCUMULATOR_BITS = 48

Term = tuple[int, ...]
"""What one product adds to each accumulator: (sum,), or (even, odd)."""

MAX_SEGMENTS = 6

SEGMENT_COUNTS = (1, 3)
"""The ones that comparisons of variants try."""

_LEAST_SEGMENT_BITS = 2

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, kw_only=True)
class MacParameters(MacDesign):
    """What a multiply-accumulate unit is made with, and its ports; `rtl.mac.design.Mac` builds it.

    Parameters
    ----------
    scheme : MacScheme
        Weight grid and product.
    weight_bits : int
        Nominal width of a weight: 2 to 8 (``uniform``, ``symmetric``, ``apot``), 2 to 5 (``pot``),
        3 to 5 (POST).
    activation_bits : int
        2 to 8.
    activation_signed : bool
        Whether activations are two's complement.
    encoding : Encoding
        Which levels of an exponential grid the weights have.
    accumulator_bits : int
        Width of the widest accumulator. The longest sum that fits it is `length`; a second
        accumulator has the width that the same length needs.
    style : Style, optional
        How products are made; None: the scheme's default.
    accumulation : Accumulation, optional
        Which sums there are; None: ``pair`` for ``post-split``, else ``single``.
    clear : Clear
        How a sum begins.
    pipeline : int
        0: the product is made and summed in one cycle; 1: a register stands between; 2: another
        one inside the product unit where it adds or selects in two steps.
    segments : int
        Parts that each sum is cut into, 1 to 6: the carry out of a part waits in a register for
        the next one, which makes carry chains as much shorter and adds a cycle of latency each.
    lut_fraction_bits : int
        Fraction bits of ``post-lut``'s table, 0 to 15.
    codes : Codes, optional
        How weights stand at the port; None: the style's default.
    signs : Signs
        When the sign of a weight counts.
    cells : Cells, optional
        Cells of a family of chips that the sums are made of; None: portable Verilog. `on_cells`
        gives a unit that has no use for them as it is.

    Raises
    ------
    InputError
        If a parameter is out of range or the combination does not exist.
    """

    scheme: MacScheme
    weight_bits: int = 4
    activation_bits: int = 4
    activation_signed: bool = False
    encoding: Encoding = Encoding.PACKED
    accumulator_bits: int = 24
    style: Style | None = None
    accumulation: Accumulation | None = None
    clear: Clear = Clear.MASKED
    pipeline: int = 1
    segments: int = 1
    lut_fraction_bits: int = 0
    codes: Codes | None = field(default=None, metadata=silent_at(Codes.STORED))
    signs: Signs = field(default=Signs.IMMEDIATE, metadata=silent_at(Signs.IMMEDIATE))
    cells: Cells | None = field(default=None, metadata=silent_at(None))

    def __post_init__(self) -> None:
        self._set("scheme", _choice("scheme", MacScheme, self.scheme))
        style = self.scheme.styles[0] if self.style is None else self.style
        self._set("style", _choice("style", Style, style))
        sums = self.scheme.accumulations[0] if self.accumulation is None else self.accumulation
        self._set("accumulation", _choice("accumulation", Accumulation, sums))
        self._set("clear", _choice("clear", Clear, self.clear))
        self._set("signs", _choice("signs", Signs, self.signs))
        codes = self.style_codes[0] if self.codes is None else self.codes
        self._set("codes", _choice("codes", Codes, codes))
        check_range("pipeline", self.pipeline, 0, MAX_PIPELINE)
        check_range("segments", self.segments, 1, MAX_SEGMENTS)
        check_range(f"weight bits of {self.scheme}", self.weight_bits, *self.scheme.weight_bits)
        check_range("activation bits", self.activation_bits, MIN_BITS, MAX_BITS)
        check_range("accumulator bits", self.accumulator_bits, 2, MAX_ACCUMULATOR_BITS)
        self._set("encoding", self.weight_grid.encoding)
        if self.lut_fraction_bits and not self.scheme.rounds:
            raise InputError(f"LUT fraction bits are for post-lut, not for {self.scheme}")
        assert self.product  # checks the fraction bits
        check_combination(self)
        self._check_accumulators()

    @classmethod
    def for_length(cls, length: int, mac: Self) -> Self:
        """`mac` with the narrowest accumulators that no sum of `length` products overflows."""
        check_range("dot-product length", length, 1, 1 << MAX_ACCUMULATOR_BITS)
        return replace(mac, accumulator_bits=max(_widths(mac._term_ranges, length)))

    def on_cells(self, cells: Cells | None) -> Self:
        """The same unit with its sums made of `cells`, where there is a use for them."""
        return replace(self, cells=cells if self.has_use_for_cells else None)

    @property
    def has_use_for_cells(self) -> bool:
        """Whether a sum has a choice in front of its adder."""
        if self.accumulation is Accumulation.SHARED:
            return self.clear is not Clear.MASKED
        subtracts = self.codes is Codes.SIGN_MAGNITUDE and not self.defers
        return subtracts or self.style is Style.STAGED

    @property
    def defers(self) -> bool:
        """Whether no product is negative."""
        return self.signs is Signs.DEFERRED

    @property
    def style_codes(self) -> tuple[Codes, ...]:
        """Codes that the style can have at its port, the default first."""
        match self.style:
            case Style.STAGED:
                return (Codes.EXPONENT,)
            case Style.ROWS | Style.DIRECT if self.scheme is MacScheme.SYMMETRIC:
                return (Codes.SIGN_MAGNITUDE,)
            case Style.ROWS:
                return (Codes.STORED, Codes.INVERTED, Codes.SIGN_MAGNITUDE)
            case Style.DIRECT:
                return (Codes.STORED, Codes.SIGN_MAGNITUDE)
            case _:
                return (Codes.STORED,)

    @property
    def weight_codes(self) -> Mapping[int, int]:
        """The grid's code of each that the port carries."""
        assert self.codes is not None
        return port_codes(self.codes, self.weight_grid)

    @property
    def is_reset_by_starts(self) -> bool:
        """Whether a reset is as many starts as there are cycles before the adder.

        Registers in between and the sums need no reset of their own then.
        """
        return self.is_cleared_first or self.codes is not Codes.STORED

    @property
    def is_cleared_first(self) -> bool:
        """Whether one register is both what is added to and what is cleared before a sum."""
        shared = self.accumulation is Accumulation.SHARED
        return self.clear is Clear.IDLE or (shared and self.clear is Clear.AHEAD)

    @property
    def stem(self) -> str:
        """Beginning of its name, the scheme first: ``post_split_w4a4_acc24_shift_masked``."""
        sign = "s" if self.activation_signed else ""
        parts = [f"{self.scheme}_w{self.weight_bits}a{self.activation_bits}{sign}"]
        if self.encoding is not Encoding.PACKED:
            parts.append(self.encoding)
        if self.scheme.rounds:
            parts.append(f"f{self.lut_fraction_bits}")
        parts += [f"acc{self.accumulator_bits}", str(self.style), str(self.accumulation)]
        parts += [self.clear, f"p{self.pipeline}"]
        parts += [f"s{self.segments}"] if self.segments > 1 else []
        parts += [self.codes] if self.codes not in (None, Codes.STORED) else []
        parts += [self.signs] if self.defers else []
        parts += [self.cells.name] if self.cells else []
        return "_".join(parts).replace("-", "_")

    @property
    def weight_grid(self) -> Grid:
        """Grid of the weight codes."""
        return Grid(scheme=self.scheme.grid_scheme, bits=self.weight_bits, encoding=self.encoding)

    @property
    def activation_grid(self) -> Grid:
        """Uniform grid of the activations."""
        return Grid(scheme=UNIFORM, bits=self.activation_bits, signed=self.activation_signed)

    @property
    def product(self) -> Product:
        """The product that the software model computes."""
        return Product(kind=self.scheme.product, lut_fraction_bits=self.lut_fraction_bits)

    @property
    def splits(self) -> bool:
        """Whether even and odd products are summed apart."""
        return self.scheme.splits

    @property
    def has_pair(self) -> bool:
        """Whether there are two accumulators, ``even`` and ``odd``."""
        return self.splits and self.accumulation is not Accumulation.ORDERED

    @property
    def accumulators(self) -> tuple[Port, ...]:
        """Ports of the sums."""
        meanings = (
            {"even": "sum of the products with even powers", "odd": "of odd, in units of sqrt 2"}
            if self.has_pair
            else {"accumulator": "sum of the products"}
        )
        if self.defers:
            meanings = {
                name: f"{meaning}, and the weights' excess" for name, meaning in meanings.items()
            }
        widths = _widths(self._term_ranges, self.length)
        return tuple(
            Port(name=name, width=width, signed=True, direction=Direction.OUT, meaning=meaning)
            for (name, meaning), width in zip(meanings.items(), widths, strict=True)
        )

    @property
    def ports(self) -> tuple[Port, ...]:
        """``start``, ``valid_in``, activation, ``weight``; the sums and ``valid_out``."""
        grid = self.weight_grid
        second = [
            Port(
                name="second",
                width=self.activation_bits + 1,
                signed=self.activation_signed,
                direction=Direction.IN,
                meaning="its second code, which odd powers meet",
                values=codes,
            )
            for name, codes in self.operands.items()
            if name == "second"
        ]
        return (
            VALID_IN,
            Port(
                name="start",
                width=1,
                direction=Direction.IN,
                meaning="this product begins a new sum",
            ),
            Port(
                name="activation",
                width=self.activation_bits,
                signed=self.activation_signed,
                direction=Direction.IN,
                meaning="activation, an integer",
            ),
            *second,
            Port(
                name="weight",
                width=grid.stored_bits,
                direction=Direction.IN,
                meaning=f"weight, a code of the {grid} grid{self._coded}",
                values=tuple(self.weight_codes),
            ),
            VALID_OUT,
            *self.accumulators,
        )

    @property
    def _coded(self) -> str:
        return "" if self.codes is Codes.STORED else f", {self.codes}"

    @property
    def length(self) -> int:
        """Longest sum of products that provably fits the accumulators, for all inputs.

        Partial sums, in any order, fit as well: each range of a term includes 0.
        """
        high = (1 << (self.accumulator_bits - 1)) - 1
        limits = []
        for low_term, high_term in self._term_ranges:
            limits += [(high + 1) // -low_term] if low_term else []
            limits += [high // high_term] if high_term else []
        return min(limits)

    @property
    def _term_ranges(self) -> tuple[tuple[int, int], ...]:
        """Smallest and largest term of each accumulator; 0 is always between them."""
        columns = zip(*term_table(self).values(), strict=True)
        return tuple((min(0, *column), max(0, *column)) for column in columns)

    def _check_accumulators(self) -> None:
        """That one product fits, and that no segment is too short."""
        needed = max(_widths(self._term_ranges, 1))
        if self.accumulator_bits < needed:
            raise InputError(
                f"accumulator bits must be at least {needed} to hold one product, "
                f"not {self.accumulator_bits}"
            )
        narrowest = min(port.width for port in self.accumulators)
        if self.segments * _LEAST_SEGMENT_BITS > max(narrowest, _LEAST_SEGMENT_BITS):
            raise InputError(
                f"segments of a sum of {narrowest} bits must be at most "
                f"{narrowest // _LEAST_SEGMENT_BITS}, not {self.segments}"
            )

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)


@cache
def term_table(mac: MacParameters) -> Mapping[tuple[int, int], Term]:
    """What each (activation, code at the weight's port) adds to each accumulator.

    An activation with two codes stands there with the one that the weight meets.
    """
    grid, product = mac.weight_grid, mac.product
    pairs = grid.decode_table()
    table: dict[tuple[int, int], Term] = {}
    for code, stored in mac.weight_codes.items():
        even, odd = pairs[stored]
        for activation in mac.operands[met_by(mac, code)]:
            if mac.has_pair:
                table[activation, code] = (activation * even, activation * odd)
            elif product.uses_lut(grid):
                table[activation, code] = (product.lut_entry(activation, even, odd),)
            else:
                table[activation, code] = (activation * (even + odd),)  # one of them is 0
    return MappingProxyType(table)


def met_by(mac: MacParameters, code: int) -> str:
    """The port of the activation's code that a weight meets, of the code at the weight's port."""
    _, odd = mac.weight_grid.decode_table()[mac.weight_codes[code]]
    return "second" if odd and "second" in mac.operands else "activation"


def _widths(ranges: tuple[tuple[int, int], ...], length: int) -> tuple[int, ...]:
    """Widths of accumulators whose terms have these ranges, for sums of `length` products."""
    return tuple(signed_width(low * length, high * length) for low, high in ranges)


def _choice(what: str, kind: type[_Choice], value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"{what} must be one of {', '.join(kind)}, not {str(value)!r}") from None
