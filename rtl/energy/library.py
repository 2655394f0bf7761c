"""The cell library that gates are mapped to: Oklahoma State University's, of 180 nm.

It comes as Debian's package ``qflow-tech-osu018`` and is read where that puts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rtl.tools import MissingToolError, ToolError

__all__ = ["LIBRARY_PACKAGE", "CellLibrary", "library_folder"]

LIBRARY_PACKAGE = "qflow-tech-osu018"

_FOLDER = Path("/usr/share/qflow/tech/osu018")
_LIBERTY = "osu018_stdcells.lib"
_MODELS = "osu018_stdcells.v"
_CELL = re.compile(r"^cell \((\w+)\) \{(.*?)(?=^cell \(|\Z)", re.DOTALL | re.MULTILINE)
_PIN = re.compile(
    r"pin\s*\((\w+)\)\s*\{\s*direction : (\w+);.*?\n\s*capacitance : ([\d.]+)", re.DOTALL
)
_VOLTAGE = re.compile(r"nom_voltage : ([\d.]+)")


def library_folder(folder: Path = _FOLDER) -> Path:
    """Where the library's files are.

    Raises
    ------
    MissingToolError
        If one of them is not there.
    """
    if not all((folder / name).is_file() for name in (_LIBERTY, _MODELS)):
        raise MissingToolError(
            f"the cell library of {LIBRARY_PACKAGE}", f"apt-get install {LIBRARY_PACKAGE}"
        )
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLibrary:
    """The library's cells.

    Parameters
    ----------
    liberty, models : Path
        For Yosys, and as Verilog with the cells' delays.
    voltage : float
        Of the supply, in V.
    capacitance_pf : mapping
        Of each input pin, by cell and pin.
    """

    liberty: Path
    models: Path
    voltage: float
    capacitance_pf: Mapping[tuple[str, str], float]

    @staticmethod
    def load(folder: Path = _FOLDER) -> CellLibrary:
        """Read the library.

        Raises
        ------
        MissingToolError
            If it is not installed.
        ToolError
            If its file says neither voltage nor capacitances.
        """
        liberty = library_folder(folder) / _LIBERTY
        text = liberty.read_text(encoding="utf-8", errors="replace")
        pins = {
            (cell[1], pin[1]): float(pin[3])
            for cell in _CELL.finditer(text)
            for pin in _PIN.finditer(cell[2])
            if pin[2] == "input"
        }
        voltage = _VOLTAGE.search(text)
        if voltage is None or not pins:
            raise ToolError(f"{liberty} holds no cells of a known kind")
        return CellLibrary(
            liberty=liberty,
            models=folder / _MODELS,
            voltage=float(voltage[1]),
            capacitance_pf=pins,
        )
