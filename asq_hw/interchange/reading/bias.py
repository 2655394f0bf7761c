"""The bias of a convolution or a linear layer, as nodes tell it."""

from __future__ import annotations

import numpy as np

from asq_hw.interchange.reading.graph import Constant, Node

__all__ = ["bias_of"]


def bias_of(node: Node, values: Constant, outputs: int) -> Constant:
    """A bias as one number for each output.

    Parameters
    ----------
    node : Node
        ``Conv``, whose bias is just that; or ``Gemm``, which broadcasts it to (N, outputs).
    values : array
    outputs : int

    Returns
    -------
    array of shape (outputs,)

    Raises
    ------
    InputError
        If the bias has another shape, such as one number for each sample.
    """
    fits = values.shape == (outputs,)
    if node.operator == "Gemm":
        fits = values.ndim <= 2 and values.shape[-1:] in ((), (1,), (outputs,))
        fits = fits and values.shape[:-1] in ((), (1,))
    if not fits:
        raise node.refused(f"bias must be {outputs} numbers, not an array of {values.shape}")
    return np.broadcast_to(values.reshape(-1), outputs).copy()
