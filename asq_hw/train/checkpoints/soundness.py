"""Tensors that are what they should be: dense, of the right kind, and finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError

__all__ = ["check_network", "check_state", "check_tensor"]


def check_tensor(
    name: str, tensor: Tensor, *, wanted: torch.dtype | None = None, source: str = ""
) -> None:
    """Refuse a tensor that a network cannot be made of.

    Parameters
    ----------
    name : str
        By which the network knows it; a ``running_var`` must not be negative.
    tensor : Tensor
        What is checked.
    source : str
        Where it comes from, for messages.
    wanted : torch.dtype, optional
        The type in which it will act; its own otherwise. Every floating-point type is taken where
        one is wanted, and every integer type where an integer is.

    Raises
    ------
    InputError
        If it holds no values (meta), is sparse, nested, quantized, complex or of another kind
        than is wanted, or holds NaN, infinity, or what becomes infinite in the wanted type.
    """
    what = f"tensor {name} of {source}" if source else f"tensor {name}"
    wanted = tensor.dtype if wanted is None else wanted
    if tensor.is_meta or isinstance(tensor, nn.UninitializedParameter):
        raise InputError(f"{what} must hold values, and holds none")
    if tensor.is_quantized or tensor.is_nested or tensor.layout is not torch.strided:
        raise InputError(f"{what} must be a plain dense tensor, not {_kind(tensor)}")
    if _kind_of_number(tensor.dtype) != _kind_of_number(wanted):
        raise InputError(f"{what} must be of type {_name(wanted)}, not {_name(tensor.dtype)}")
    if wanted.is_complex:
        raise InputError(f"{what} must be real, not {_name(wanted)}")
    if wanted.is_floating_point:
        values = tensor.detach().to(wanted)
        if not torch.isfinite(values).all():
            bad = float(values[~torch.isfinite(values)].flatten()[0])
            raise InputError(f"{what} must be finite, and holds {bad}")
        if name.endswith("running_var") and (values < 0).any():
            raise InputError(f"{what} must not be negative, and holds {float(values.min())}")


def check_state(state: Mapping[str, Tensor], source: str = "") -> None:
    """Check every tensor of a state dict that comes from `source`."""
    for name, tensor in state.items():
        check_tensor(name, tensor, source=source)


def check_network(model: nn.Module) -> None:
    """Check every parameter and buffer of a network, and that parameters are floating-point."""
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.UninitializedParameter) or not parameter.is_floating_point():
            raise InputError(
                f"tensor {name} must be of a floating-point type, not {_name(parameter.dtype)}"
            )
    check_state(model.state_dict(keep_vars=True))


def _kind(tensor: Tensor) -> str:
    if tensor.is_nested:
        return "nested"
    return "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")


def _kind_of_number(dtype: torch.dtype) -> str:
    if dtype.is_floating_point or dtype.is_complex:
        return "complex" if dtype.is_complex else "float"
    return "bool" if dtype is torch.bool else "integer"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
