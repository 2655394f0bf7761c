"""Carry cells that do more than add, a family of chips a module."""

from __future__ import annotations

from rtl.lib.cells.cells import Cells
from rtl.lib.cells.ecp5 import ECP5_CELLS

__all__ = ["ECP5_CELLS", "Cells"]
