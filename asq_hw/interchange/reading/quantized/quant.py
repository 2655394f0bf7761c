"""``Quant`` nodes: codes of some bits times a scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.interchange.reading.graph import Constant, Node
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.numbers.schemes import SYMMETRIC, UNIFORM, Scheme

__all__ = ["QUANT_OPERATORS", "ActivationCodes", "Quant", "quant_of"]

QUANT_OPERATORS = frozenset(
    f"{domain}.{operator}"
    for domain in ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
    for operator in ("Quant", "IntQuant")
)
"""As versions of Brevitas write them."""

_TO_NEAREST = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN")
_MOST_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationCodes:
    """Codes of a map.

    Parameters
    ----------
    scale : float
        What the code 1 stands for.
    bits : int
    signed : bool
    """

    scale: float
    bits: int
    signed: bool

    @property
    def largest(self) -> float:
        """Largest magnitude of a value."""
        return self.scale * max(map(abs, integer_range(self.bits, signed=self.signed)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quant:
    """What a node says of its codes.

    Parameters
    ----------
    node : Node
    scale : array
        Positive, of any shape that is broadcast to what is quantized.
    bits : int
    signed, narrow : bool
        Whether there are negative codes, and whether the range is one code narrower.
    """

    node: Node
    scale: Constant
    bits: int
    signed: bool
    narrow: bool

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest code; those of one signed bit are -1 and 1."""
        low, high = integer_range(self.bits, signed=self.signed)
        if self.bits == 1 and self.signed:
            return -1, 1
        if not self.narrow:
            return low, high
        return (low + 1, high) if self.signed else (low, high - 1)

    @property
    def scheme(self) -> Scheme:
        """Whose levels the codes are."""
        return SYMMETRIC if self.signed and self.narrow else UNIFORM

    def codes(self, values: Constant) -> NDArray[np.int64]:
        """Codes of constants, rounded as the node says."""
        real = values.astype(np.float32) / self.scale.astype(np.float32)
        if not np.isfinite(real).all():
            raise self.node.refused("weights must be finite")
        if self.bits == 1 and self.signed:
            return np.where(real >= 0, 1, -1)
        mode = self.node.text("rounding_mode", "ROUND").upper()
        found: Constant = _ROUNDED[mode](np.clip(real, *self.range))
        return found.astype(np.int64)

    def activation(self) -> ActivationCodes:
        """What it makes of a map.

        Raises
        ------
        InputError
            If an integer network has no such codes.
        """
        if self.scale.size != 1:
            raise self.node.refused(
                f"codes of maps must have one scale, not {self.scale.size}: one for each tensor"
            )
        if self.narrow:
            raise self.node.refused("codes of maps must not be narrow: every code of their bits")
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise self.node.refused(
                f"codes of maps must have {MIN_BITS}..{MAX_BITS} bits, not {self.bits}"
            )
        mode = self.node.text("rounding_mode", "ROUND").upper()
        if mode not in _TO_NEAREST:
            raise self.node.refused(f"codes of maps must be rounded to the nearest, not {mode}")
        scale = float(self.scale.reshape(-1)[0])
        return ActivationCodes(scale=scale, bits=self.bits, signed=self.signed)


def _away(values: Any) -> Any:
    return np.sign(values) * np.floor(np.abs(values) + 0.5)


def _towards(values: Any) -> Any:
    return np.sign(values) * np.ceil(np.abs(values) - 0.5)


_ROUNDED: dict[str, Callable[[Any], Any]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda values: np.sign(values) * np.ceil(np.abs(values)),
    "DOWN": np.fix,
    "HALF_UP": _away,
    "HALF_DOWN": _towards,
}


def quant_of(node: Node, inputs: Sequence[Constant | None]) -> Quant:
    """Read a ``Quant`` node.

    Parameters
    ----------
    node : Node
    inputs : sequence
        Scale, zero point and width; None where it is no constant.

    Raises
    ------
    InputError
        If one of them is no constant, the zero point is not 0, or a value is impossible.
    """
    named = dict(zip(("scale", "zero point", "bit width"), inputs, strict=False))
    arrays: dict[str, Constant] = {}
    for name in ("scale", "zero point", "bit width"):
        found = named.get(name)
        if found is None:
            raise node.refused(f"the {name} of a Quant node must be a constant")
        if found.dtype.kind not in "fiu":
            raise node.refused(f"the {name} of a Quant node must be numbers, not {found.dtype}")
        arrays[name] = found
    scale, zero, width = arrays["scale"], arrays["zero point"], arrays["bit width"]
    if not np.isfinite(scale).all() or scale.min(initial=1) <= 0 or not scale.size:
        raise node.refused("the scale of a Quant node must be positive")
    if zero.any():
        raise node.refused("the zero point of a Quant node must be 0")
    if width.size != 1 or not 1 <= (bits := float(width.reshape(-1)[0])) <= _MOST_BITS or bits % 1:
        raise node.refused(f"the bit width of a Quant node must be 1..{_MOST_BITS}")
    if (mode := node.text("rounding_mode", "ROUND").upper()) not in _ROUNDED:
        raise node.refused(f"the rounding mode {mode!r} is not known")
    return Quant(
        node=node,
        scale=np.asarray(scale, dtype=np.float64),
        bits=int(bits),
        signed=bool(node.integer("signed", 1)),
        narrow=bool(node.integer("narrow", 0)),
    )
