"""Precision of the weight grids: signal over quantization noise at the best scale.

``python -m analysis.studies.precision`` prints the table of docs/mac.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from analysis.studies.measured import markdown
from analysis.studies.workload import nearest_levels
from asq_hw.files.packaged import PACKAGED_MODEL
from asq_hw.guard import guarded
from asq_hw.modelfile import load
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT, SYMMETRIC, UNIFORM

__all__ = ["GRIDS", "samples", "sqnr_db", "table"]

Values = NDArray[np.float64]

_POINTS = 100_000


def _levels(grid: Grid) -> tuple[float, ...]:
    values = [level.even + level.odd * math.sqrt(2) for level in grid.levels]
    scaled = [value * 2.0**-level.shift for value, level in zip(values, grid.levels, strict=True)]
    return tuple(sorted(scaled))


GRIDS: Mapping[str, tuple[float, ...]] = {
    "uniform, 15 levels": _levels(Grid(scheme=SYMMETRIC, bits=4)),
    "uniform, 16 levels": _levels(Grid(scheme=UNIFORM, bits=4)),
    "uniform, 5 bits": _levels(Grid(scheme=UNIFORM, bits=5)),
    "POT": _levels(Grid(scheme=POT, bits=4)),
    "APoT": _levels(Grid(scheme=APOT, bits=4)),
    "POST": _levels(Grid(scheme=POST, bits=4)),
}
"""Levels by what the table calls them; of 4 bits unless it says otherwise."""


def samples() -> Mapping[str, Sequence[Values]]:
    """Weights by where they come from: sets that each have a scale of their own."""
    places = (np.arange(_POINTS) + 0.5) / _POINTS
    gauss = np.array([NormalDist().inv_cdf(place) for place in places.tolist()])
    laplace = np.sign(places - 0.5) * -np.log1p(-2 * np.abs(places - 0.5))
    wide = [
        layer
        for layer in load(PACKAGED_MODEL).layers
        if isinstance(layer, Conv | Linear) and layer.weight_grid.bits == 8
    ]
    own = []
    for layer in wide:
        table = layer.weight_grid.decode_table()
        codes = layer.weight_codes.reshape(-1).tolist()
        own.append(np.array([table[code][0] for code in codes], dtype=np.float64))
    return {"Gauss": [gauss], "Laplace": [laplace], "bundled network": own}


def sqnr_db(weights: Sequence[Values], levels: Sequence[float]) -> float:
    """Signal over noise, in dB, with the best scale of each set.

    Parameters
    ----------
    weights : sequence of float64 (N,) arrays
        Sets of weights.
    levels : sequence of float
        The grid.
    """
    noise = sum(float(np.square(nearest_levels(each, levels) - each).sum()) for each in weights)
    signal = sum(float(np.square(each).sum()) for each in weights)
    return 10 * math.log10(signal / noise)


def table() -> str:
    """A row for each grid, a column for each kind of weights."""
    drawn = samples()
    lines = [
        [name, str(len(levels)), *(f"{sqnr_db(each, levels):.2f}" for each in drawn.values())]
        for name, levels in GRIDS.items()
    ]
    return markdown(["SQNR in dB", "levels", *drawn], lines)


def main(arguments: Sequence[str]) -> int:
    """Print the table as Markdown."""
    if arguments:
        print("usage: python -m analysis.studies.precision", file=sys.stderr)
        return 2
    print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.precision", lambda: main(sys.argv[1:])))
