"""Integer networks with adaptive step sizes (ASQ) and power-of-square-root-of-two weights (POST).

The package trains such networks, exports them to integers, simulates them bit-accurately and
counts what their step-size adapters cost. Importing it loads nothing heavy: what is listed here is
loaded where it is first used, and everything else is taken from its module, for example
``from asq_hw.numbers.grids import Grid``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asq_hw.interface.calibrate import calibrate
    from asq_hw.interface.check import check
    from asq_hw.interface.compare import compare
    from asq_hw.interface.export import export
    from asq_hw.interface.finetune import finetune
    from asq_hw.interface.network import load
    from asq_hw.interface.overhead import overhead
    from asq_hw.interface.prepare import prepare
    from asq_hw.interface.simulate import simulate
    from asq_hw.network.input_format import InputFormat

__all__ = [
    "InputFormat",
    "__version__",
    "calibrate",
    "check",
    "compare",
    "export",
    "finetune",
    "load",
    "overhead",
    "prepare",
    "simulate",
]

__version__ = "0.1.0"

_HOMES = {
    "InputFormat": "asq_hw.network.input_format",
    "calibrate": "asq_hw.interface.calibrate",
    "check": "asq_hw.interface.check",
    "compare": "asq_hw.interface.compare",
    "export": "asq_hw.interface.export",
    "finetune": "asq_hw.interface.finetune",
    "load": "asq_hw.interface.network",
    "overhead": "asq_hw.interface.overhead",
    "prepare": "asq_hw.interface.prepare",
    "simulate": "asq_hw.interface.simulate",
}
"""The module that each public name stands in."""


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
