"""The input: from pixels, or other integers, to the first feature map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError, check_range
from asq_hw.network.feature_map import FeatureFormat, FeatureMap, Shape
from asq_hw.network.input_format import PIXELS, InputFormat
from asq_hw.network.layers.kind import Form, LayerKind, Stored
from asq_hw.network.names import check_name
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import IntArray, check_integers
from asq_hw.numbers.widths import BIAS_BITS, MAX_SHIFT

__all__ = ["MAX_IMAGE_SIZE", "Input"]

MAX_IMAGE_SIZE = 1 << 14
"""Largest height and width of an image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input(LayerKind):
    """Pixels, or other integers of `bits` bits, to the first feature map.

    ``X = saturate(round((p * multiplier + offset) * 2**-shift))``. `multiplier` and `offset` are
    (C,) and carry the data set's normalization.
    """

    kind: ClassVar[str] = "input"

    name: str
    height: Annotated[int, Stored("height", Form.INTEGER)]
    width: Annotated[int, Stored("width", Form.INTEGER)]
    multiplier: Annotated[IntArray, Stored("multiplier", Form.VECTOR32)]
    offset: Annotated[IntArray, Stored("offset", Form.VECTOR32)]
    shift: Annotated[int, Stored("shift", Form.INTEGER)]
    output: Annotated[FeatureFormat, Stored("output", Form.FORMAT)]
    bits: Annotated[int, Stored("bits", Form.INTEGER, since=6)] = PIXELS.bits
    signed: Annotated[bool, Stored("signed", Form.BOOLEAN, since=6)] = PIXELS.signed

    def __post_init__(self) -> None:
        check_name(self.name)
        check_range("an input's height", self.height, 1, MAX_IMAGE_SIZE)
        check_range("an input's width", self.width, 1, MAX_IMAGE_SIZE)
        multiplier = check_integers("an input's multipliers", self.multiplier, BIAS_BITS, 1)
        offset = check_integers("an input's offsets", self.offset, BIAS_BITS, 1)
        if offset.shape != multiplier.shape:
            raise InputError(
                f"an input has {multiplier.size} multipliers but {offset.size} offsets"
            )
        check_range("an input's shift", self.shift, 0, MAX_SHIFT)
        InputFormat(bits=self.bits, signed=self.signed)  # which checks them
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "offset", offset)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.multiplier.size)

    @property
    def shape(self) -> Shape:
        """Channels, height and width of what it takes."""
        return self.channels, self.height, self.width

    @property
    def integers(self) -> InputFormat:
        """The integers that it takes; what they stand for is no matter of the layer's."""
        return InputFormat(bits=self.bits, signed=self.signed)

    @property
    def takes_pixels(self) -> bool:
        """Whether these are bytes of 0 to 255, as images have."""
        return self.integers == InputFormat(bits=PIXELS.bits)

    @property
    def source_names(self) -> tuple[str, ...]:
        """None: it reads pixels."""
        return ()

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """The image's shape, in the input's own format."""
        del sources
        return FeatureMap(shape=self.shape, format=self.output)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: 16 bits at most meet a multiplier and an offset of 32."""
