"""Every product of a multiply-accumulate unit, computed by the network's own executor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.activation import ActivationQuantizer, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Linear
from asq_hw.oracle.weighted import accumulate, product_tables
from rtl.design import MacDesign, Rows

__all__ = ["ProductTable", "products"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductTable:
    """What each weight code adds for each activation.

    Attributes
    ----------
    weights : int64 (W,)
        Valid codes at the weight's port.
    operands : dict of int64 (A,) arrays
        By port, every activation: where it has two codes, every pair of them.
    exact : dict of int64 (W, A) arrays
        By output port: the product of every weight and activation.
    terms : dict of int64 (W, A) arrays
        What is summed: the product, and what the unit says that a weight adds beside it.
    """

    weights: NDArray[np.int64]
    operands: dict[str, NDArray[np.int64]]
    exact: dict[str, NDArray[np.int64]]
    terms: dict[str, NDArray[np.int64]]

    def pairs(self) -> dict[str, NDArray[np.int64]]:
        """Every pair as a sum of its own: rows for the design, weights slowest."""
        every = next(iter(self.terms.values())).shape[1]
        return {
            "start": np.ones(len(self.weights) * every, dtype=np.int64),
            **{name: np.tile(codes, len(self.weights)) for name, codes in self.operands.items()},
            "weight": np.repeat(self.weights, every),
        }

    def row(self, weight: int, activation: int) -> dict[str, int]:
        """What stands at the ports for a place in `terms`."""
        codes = {name: int(codes[activation]) for name, codes in self.operands.items()}
        return codes | {"weight": int(self.weights[weight])}

    def terms_of(self, output: str, rows: Rows, lane: str = "") -> NDArray[np.int64]:
        """What each row adds to an output's sum; `lane` ends the names of its columns."""
        place = np.zeros(1, dtype=np.int64)
        for name, codes in self.operands.items():
            least, most = int(codes.min()), int(codes.max())
            place = place * (most - least + 1) + rows[f"{name}{lane}"] - least
        weight = np.searchsorted(self.weights, rows[f"weight{lane}"])
        return self.terms[output][weight, place]


def products(design: MacDesign) -> ProductTable:
    """Run a linear layer that holds each weight code, on each activation.

    Nothing here knows what a code stands for: `asq_hw.oracle` computes it.
    """
    codes = np.array(list(design.weight_codes.values()), dtype=np.int64)
    operands = dict(
        zip(
            design.operands,
            np.array(list(product(*design.operands.values())), dtype=np.int64).T,
            strict=True,
        )
    )
    layer = _layer(design, codes)
    tables = product_tables(layer, design.product)
    made = [
        accumulate(layer, tables, *([[[code]]] for code in pair))
        for pair in zip(*(column.tolist() for column in operands.values()), strict=True)
    ]
    # By accumulator, weight and activation.
    accumulators = np.array(made, dtype=np.int64).reshape(len(made), -1, len(codes))
    accumulators = np.moveaxis(accumulators, 0, 2)
    if len(design.outputs) == 1:
        # A unit with one accumulator for both parts takes even and odd products one after the
        # other; of each code's two terms, one is 0.
        accumulators = accumulators.sum(axis=0, keepdims=True)
    names = [port.name for port in design.outputs]
    exact = dict(zip(names, accumulators, strict=True))
    weights = list(design.weight_codes)
    excess = np.array([design.excess[code] for code in weights], dtype=np.int64)
    terms = {name: exact[name] + excess[:, i, None] for i, name in enumerate(names)}
    return ProductTable(
        weights=np.array(weights, dtype=np.int64), operands=operands, exact=exact, terms=terms
    )


def _layer(design: MacDesign, codes: NDArray[np.int64]) -> Linear:
    """Each output channel holds one weight code."""
    grid = design.activation_grid
    form = FeatureFormat(fraction_bits=0)
    return Linear(
        name="sums",
        source="pixels",
        quantizer=ActivationQuantizer(grid=grid, step=FixedStep(step=1), step_fraction_bits=0),
        weight_grid=design.weight_grid,
        weight_codes=codes.astype(np.uint16).reshape(-1, 1),
        multiplier=np.ones(len(codes), dtype=np.int64),
        narrow_shift=0,
        shift=0,
        bias=np.zeros(len(codes), dtype=np.int64),
        output=form,
    )
