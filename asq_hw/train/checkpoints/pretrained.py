"""Weights that somebody else trained: a state dict with torchvision's names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.train.checkpoints.soundness import check_tensor

__all__ = ["fill"]

_COUNTER = "num_batches_tracked"
"""Batch norm's counter of steps, which older files lack and nothing here reads."""


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy a state dict into a network.

    Parameters
    ----------
    model : nn.Module
        What is filled.
    state : mapping of str to Tensor
        By the names of the network's parameters and buffers.
    source : str
        Where the tensors come from, for messages.

    Raises
    ------
    InputError
        If a tensor is missing, has another shape, is no tensor, or has no place in the network;
        if it is not dense, not finite, or of another kind.
    """
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        found = state.get(name)
        if found is None and name.endswith(_COUNTER):
            continue
        shape = list(tensor.shape)
        if found is None:
            raise InputError(f"{source} must hold tensor {name} of shape {shape}, and does not")
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            other = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"tensor {name} of {source} must have shape {shape}, not {other}")
        check_tensor(name, found, wanted=tensor.dtype, source=source)
    for name in state:
        if name not in wanted:
            raise InputError(f"tensor {name} of {source} has no place in the network")
    model.load_state_dict(dict(state), strict=False)
