"""overhead: what ASQ's adapters add to a network."""

from __future__ import annotations

import os
from collections.abc import Sequence

from analysis.cost import overhead as counting
from analysis.cost.networks import find_network, integer_network_shape
from analysis.cost.overhead import Convention, Overhead
from asq_hw.network.graph import IntegerNetwork

__all__ = ["overhead"]


def overhead(
    network: IntegerNetwork | str | os.PathLike[str],
    bits: Sequence[int] | None = None,
    *,
    convention: Convention | str = Convention.PAPER,
) -> Overhead:
    """Count what ASQ adds to a network (paper, Eq. 10-16 and Table 1).

    Parameters
    ----------
    network : IntegerNetwork, path or str
        What `asq_hw.export` made, a model file, or the name of a known network.
    bits : sequence of int, optional
        Widths of the quantized layers; by default those that the network has.
    convention : {'paper', 'stored'}
        What is counted: as the paper's Table 1, or all that a chip holds and does.

    Raises
    ------
    InputError
        If there is no such network, a width is out of range, or layers of different widths are
        counted as the paper does.
    """
    shape = (
        integer_network_shape(network)
        if isinstance(network, IntegerNetwork)
        else find_network(os.fspath(network))
    )
    return counting.overhead(shape, bits=bits, convention=convention)  # type: ignore[arg-type]  # read there
