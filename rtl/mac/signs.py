"""Deferred signs: words that are never negative, and what they are larger by than products.

Where signs are deferred, a signed activation is raised by half of its range (its highest bit is
inverted), and where a weight is negative something is inverted that was to be subtracted. A word is
then a product and a number that depends on the weight alone.
"""

from __future__ import annotations

from rtl.mac.parameters import MacParameters, met_by

__all__ = ["of_complement", "of_sign_bit", "of_sign_row", "raised_by"]


def raised_by(mac: MacParameters, operand: str) -> int:
    """What the activation's code at a port is raised by: half of its range where it is signed."""
    return 1 << (_bits(mac, operand) - 1) if mac.activation_signed else 0


def of_complement(mac: MacParameters, code: int) -> int:
    """Of a word that is the weight's magnitude times the activation, inverted for a negative one.

    ``m * (2**bits - 1 - q)`` is ``-m * q`` and ``m * (2**bits - 1)``.

    Parameters
    ----------
    mac : MacParameters
        The unit.
    code : int
        The weight's, at the port.
    """
    weight, operand = _weight(mac, code), met_by(mac, code)
    inverted = (1 << _bits(mac, operand)) - 1 if weight < 0 else 0
    return weight * raised_by(mac, operand) + abs(weight) * inverted


def of_sign_row(mac: MacParameters, code: int) -> int:
    """Of a word in which the activation is inverted that the sign bit of two's complement adds."""
    return _of_sign(mac, code, (1 << mac.activation_bits) - 1 << (mac.weight_bits - 1))


def of_sign_bit(mac: MacParameters, code: int) -> int:
    """Of a word of two's complement whose sign bit counts upwards where a weight is negative."""
    return _of_sign(mac, code, 1 << (mac.activation_bits + mac.weight_bits - 1))


def _of_sign(mac: MacParameters, code: int, inverted: int) -> int:
    weight = _weight(mac, code)
    return weight * raised_by(mac, "activation") + (inverted if weight < 0 else 0)


def _bits(mac: MacParameters, operand: str) -> int:
    return mac.activation_bits + (operand == "second")


def _weight(mac: MacParameters, code: int) -> int:
    """The integer that a code stands for, or that its root of two counts."""
    return sum(mac.weight_grid.decode_table()[mac.weight_codes[code]])  # one of them is 0
