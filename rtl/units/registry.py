"""Every kind of unit: the project's own, and those of the group ``asq_hw.units``."""

from __future__ import annotations

from rtl.registry import Registry
from rtl.units.adapter import ADAPTER
from rtl.units.array import ARRAY
from rtl.units.dot import DOT
from rtl.units.exponent import EXPONENT
from rtl.units.mac import MAC
from rtl.units.pooling import POOLING
from rtl.units.quantizer import QUANTIZER
from rtl.units.requantizer import REQUANTIZER
from rtl.units.unit import Unit

__all__ = ["UNITS"]

UNITS: Registry[Unit] = Registry(
    "unit",
    Unit,  # type: ignore[type-abstract]  # what its instances are of
    group="asq_hw.units",
    own=(MAC, DOT, ARRAY, QUANTIZER, REQUANTIZER, POOLING, ADAPTER, EXPONENT),
)
"""Units in the order of help texts."""
