"""Every product of a multiply-accumulate unit, computed by the network's own executor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.network.activation import ActivationQuantizer, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Input, Linear
from rtl.design import MacDesign

__all__ = ["ProductTable", "products"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductTable:
    """What each weight code adds for each activation.

    Attributes
    ----------
    weights : int64 (W,)
        Valid codes at the weight's port.
    activations : int64 (A,)
        Activations.
    terms : dict of int64 (W, A) arrays
        By output port: the term of every pair.
    """

    weights: NDArray[np.int64]
    activations: NDArray[np.int64]
    terms: dict[str, NDArray[np.int64]]

    def pairs(self) -> dict[str, NDArray[np.int64]]:
        """Every pair as a sum of its own: rows for the design, weights slowest."""
        weights, activations = np.meshgrid(self.weights, self.activations, indexing="ij")
        return {
            "start": np.ones(weights.size, dtype=np.int64),
            "activation": activations.reshape(-1),
            "weight": weights.reshape(-1),
        }


def products(design: MacDesign) -> ProductTable:
    """Run a network of one linear layer that holds each weight code, on each activation.

    Nothing here knows what a code stands for: `asq_hw.oracle` computes it.
    """
    grid = design.activation_grid
    codes = np.array(list(design.weight_codes.values()), dtype=np.int64)
    activations = np.arange(grid.minimum, grid.maximum + 1, dtype=np.int64)
    pixels = (activations - grid.minimum).astype(np.uint8).reshape(-1, 1, 1, 1)
    network = _network(design, codes)
    accumulators = oracle.trace(network, pixels, design.product).accumulators["sums"]
    if len(design.outputs) == 1:
        # A unit with one accumulator for both parts takes even and odd products one after the
        # other; of each code's two terms, one is 0.
        accumulators = (np.sum(accumulators, axis=0),)
    terms = {
        port.name: values.reshape(len(activations), len(codes)).T
        for port, values in zip(design.outputs, accumulators, strict=True)
    }
    weights = np.array(list(design.weight_codes), dtype=np.int64)
    return ProductTable(weights=weights, activations=activations, terms=terms)


def _network(design: MacDesign, codes: NDArray[np.int64]) -> IntegerNetwork:
    """Pixels minus an offset are the activations; each output channel holds one weight code."""
    grid = design.activation_grid
    form = FeatureFormat(fraction_bits=0)
    pixels = Input(
        name="pixels",
        height=1,
        width=1,
        multiplier=np.array([1]),
        offset=np.array([grid.minimum]),
        shift=0,
        output=form,
    )
    sums = Linear(
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
    return IntegerNetwork(name="products", layers=(pixels, sums))
