"""Integer networks with adaptive step sizes (ASQ) and power-of-square-root-of-two weights (POST).

The package trains such networks, exports them to integers, simulates them bit-accurately and
counts what their step-size adapters cost. Importing it loads nothing heavy: take what you need
from its modules, for example ``from asq_hw.numbers.grids import Grid``.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
