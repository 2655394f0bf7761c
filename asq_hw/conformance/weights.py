"""Networks that show what weight codes stand for and how products are rounded."""

from __future__ import annotations

import numpy as np

from asq_hw.conformance.builders import (
    codes_for,
    conv,
    every_code,
    input_layer,
    network,
    quantizer,
)
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import GlobalAveragePool, Layer

__all__ = ["apot", "negative_odd", "post", "post_paper", "pot", "symmetric", "ties", "uniform"]


def _of_every_code(
    name: str, grids: list[str], *, signed: bool, shifts: dict[str, int]
) -> IntegerNetwork:
    """A branch for each grid that has all its codes as weights; the last one makes the scores."""
    activations = quantizer(4, 17, signed=signed, step_fraction_bits=0)
    offset = -128 if signed else 0
    layers: list[Layer] = [input_layer(4, 5, offset=[offset])]
    for number, grid in enumerate(grids):
        kernel = (4, 4) if "8" in grid else (2, 2)
        layers.append(
            conv(
                f"branch{number}",
                "input",
                grid,
                every_code(grid, kernel),
                activations,
                multiplier=[13, -21, 34],
                narrow_shift=3,
                shift=shifts.get(grid, 2),
                bias=[5, -3],
                stride=(2, 1),
            )
        )
    layers.append(
        GlobalAveragePool(name="scores", source=layers[-1].name, multiplier=21845, shift=17)
    )
    return network(name, *layers)


def uniform() -> IntegerNetwork:
    """Uniform weights of 2 to 8 bits."""
    grids = ["uniform 8 packed", "uniform 2 packed", "uniform 5 packed", "uniform 4 packed"]
    return _of_every_code("uniform", grids, signed=False, shifts={grids[0]: 6})


def symmetric() -> IntegerNetwork:
    """Symmetric weights of 2 to 8 bits."""
    grids = [f"symmetric {bits} packed" for bits in (8, 2, 5, 4)]
    return _of_every_code("symmetric", grids, signed=True, shifts={grids[0]: 6})


def pot() -> IntegerNetwork:
    """POT weights in all encodings; those of 6 bits are the widest that exist."""
    grids = ["pot 6 packed", "pot 2 packed", "pot 4 paper", "pot 4 zero-free", "pot 4 packed"]
    return _of_every_code("pot", grids, signed=True, shifts={grids[0]: 28, "pot 4 zero-free": 5})


def apot() -> IntegerNetwork:
    """APoT weights of 2 to 8 bits."""
    grids = [f"apot {bits} packed" for bits in (8, 7, 6, 2, 3, 5, 4)]
    return _of_every_code("apot", grids, signed=True, shifts={grids[0]: 10})


_POST = ["post 7 packed", "post 2 packed", "post 2 paper", "post 3 zero-free", "post 4 packed"]


def post() -> IntegerNetwork:
    """POST weights; those of 2 bits, packed, have no level with the square root of two."""
    shifts = {_POST[0]: 28, _POST[1]: 0}
    return _of_every_code("post", _POST, signed=True, shifts=shifts)


def post_paper() -> IntegerNetwork:
    """POST weights in the encodings that keep the smallest level."""
    grids = ["post 5 paper", "post 5 zero-free", "post 4 zero-free", "post 4 paper"]
    return _of_every_code("post_paper", grids, signed=False, shifts={grid: 5 for grid in grids})


def ties() -> IntegerNetwork:
    """Steps with which many pixels lie midway between two codes; products that are ties too.

    Code 22 of 6-bit POST weights is the pair (0, 1024): 1024 times 46341 over 2**11 is a tie.
    """
    return network(
        "ties",
        input_layer(3, 4, offset=[-128]),
        conv(
            "signed",
            "input",
            "uniform 3 packed",
            codes_for("uniform 3 packed", (2, 1, 1, 1), 3),
            quantizer(8, 2, signed=True),
            multiplier=[3, -3],
            shift=1,
        ),
        conv(
            "fraction",
            "input",
            "uniform 3 packed",
            codes_for("uniform 3 packed", (2, 1, 1, 1), 4),
            quantizer(7, 12, signed=True, step_fraction_bits=1),
            multiplier=[5, -7],
            narrow_shift=3,
            shift=2,
        ),
        conv(
            "unsigned",
            "input",
            "uniform 3 packed",
            codes_for("uniform 3 packed", (2, 1, 1, 1), 5),
            quantizer(2, 10),
            multiplier=[1, -1],
        ),
        conv(
            "odd",
            "input",
            "post 6 packed",
            np.array([22, 54, 22, 23, 54, 55]).reshape(3, 1, 1, 2),
            quantizer(4, 16, signed=True),
            multiplier=[1, 3, -5],
            shift=6,
        ),
        GlobalAveragePool(name="scores", source="odd", multiplier=7282, shift=16),
    )


def negative_odd() -> IntegerNetwork:
    """Odd powers of both signs, with codes of both signs: what rounds to nearest, and what up."""
    return network(
        "negative_odd",
        input_layer(3, 4, offset=[-128]),
        conv(
            "conv",
            "input",
            "post 4 packed",
            np.array([14, 6, 12, 4, 10, 2, 14, 14, 14, 14]).reshape(5, 1, 2, 1),
            quantizer(4, 18, signed=True),
            multiplier=[9, -11],
            shift=4,
        ),
        GlobalAveragePool(name="scores", source="conv", multiplier=8192, shift=16),
    )
