"""What codes stand for (section 3), read off the page's tables bit by bit."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from asq_hw.network.activation import ActivationQuantizer
from asq_hw.network.layers.weighted import WeightedLayer
from asq_hw.oracle.arithmetic import sqrt2

__all__ = ["WeightCodes", "code_range", "grid_codes", "odd_code_range", "weight_codes"]

Level = tuple[int, int, int]
"""``(even, odd, shift)``: the value ``(even + odd * sqrt(2)) * 2**-shift``."""


class WeightCodes(NamedTuple):
    """The pair ``(wE, wO)`` of every valid code, and whether some ``wO`` is not 0."""

    pairs: dict[int, tuple[int, int]]
    has_sqrt2: bool


def code_range(quantizer: ActivationQuantizer) -> tuple[int, int]:
    """``Qn`` and ``Qp`` of activation codes."""
    bits = quantizer.grid.bits
    if quantizer.grid.signed:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def odd_code_range(quantizer: ActivationQuantizer) -> tuple[int, int]:
    """The same of odd codes: the integers nearest to the square root of two times `Qn` and `Qp`."""
    low, high = code_range(quantizer)
    return sqrt2(low, 0), sqrt2(high, 0)


def weight_codes(layer: WeightedLayer) -> WeightCodes:
    """Every weight code of a layer's grid."""
    grid = layer.weight_grid
    return grid_codes(str(grid.scheme), grid.bits, str(grid.encoding))


@cache
def grid_codes(scheme: str, bits: int, encoding: str) -> WeightCodes:
    """Every code of a weight grid that is named as in a model file."""
    stored = bits + 1 if encoding == "paper" else bits
    levels = {}
    for code in range(2**stored):
        level = _level(scheme, bits, encoding, code)
        if level is not None:
            levels[code] = level
    common = max(shift for _, _, shift in levels.values())
    pairs = {
        code: (even * 2 ** (common - shift), odd * 2 ** (common - shift))
        for code, (even, odd, shift) in levels.items()
    }
    return WeightCodes(pairs, any(odd for _, odd in pairs.values()))


def _level(scheme: str, bits: int, encoding: str, code: int) -> Level | None:
    """One code's level; None where the code is invalid."""
    if scheme == "uniform":
        return code - 2**bits if code >= 2 ** (bits - 1) else code, 0, bits - 1
    stored = bits + 1 if encoding == "paper" else bits
    negative, magnitude = divmod(code, 2 ** (stored - 1))
    level: Level | None
    match scheme:
        case "symmetric":
            level = magnitude, 0, bits - 1
        case "apot":
            level = _apot_magnitude(bits - 1, magnitude)
        case _:
            level = _power_magnitude(scheme, bits, encoding, magnitude)
    if level is None or not negative:
        return level
    even, odd, shift = level
    return None if even == odd == 0 else (-even, -odd, shift)


def _power_magnitude(scheme: str, bits: int, encoding: str, index: int) -> Level | None:
    """The level of a pot or post code without its sign bit."""
    if index == 0 and encoding != "zero-free":
        return 0, 0, 0
    exponent = {
        "packed": 2 ** (bits - 1) - 1 - index,
        "paper": 2 ** (bits - 1) - index,
        "zero-free": 2 ** (bits - 1) - 1 - index,
    }[encoding]
    if exponent < 0:
        return None
    if scheme == "pot":
        return 1, 0, exponent
    half, is_odd = divmod(exponent, 2)
    return (0, 1, half + 1) if is_odd else (1, 0, half)


def _apot_magnitude(magnitude_bits: int, fields: int) -> Level:
    """The level of an apot code without its sign bit."""
    terms = _apot_terms(magnitude_bits)
    shift = max(max(exponents) for _, exponents in terms)
    even, left = 0, magnitude_bits
    for width, exponents in terms:
        left -= width
        field = fields // 2**left % 2**width
        if field > 0:
            even += 2 ** (shift - exponents[field - 1])
    return even, 0, shift


def _apot_terms(magnitude_bits: int) -> list[tuple[int, list[int]]]:
    """Width and exponents of every term, the highest bits first."""
    pairs, singles = divmod(magnitude_bits, 2)
    terms: list[tuple[int, list[int]]] = [(2, []) for _ in range(pairs)]
    turn = 0
    for exponent in range(1, 3 * pairs + singles + 1):
        if singles and exponent == 2 * pairs + 1:
            continue
        terms[turn % pairs][1].append(exponent)
        turn += 1
    if singles:
        terms.append((1, [2 * pairs + 1]))
    return terms
