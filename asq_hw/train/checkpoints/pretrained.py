"""Filling a network with weights that somebody else trained; what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.train.checkpoints.soundness import check_tensor
from asq_hw.train.checkpoints.state_dict import StateDict
from asq_hw.train.models import build

__all__ = ["fill", "fill_foreign"]

_COUNTER: Final = "num_batches_tracked"
"""Batch norm's counter of steps, which older files lack and nothing here reads."""
_MOST_SHOWN: Final = 3
_MOST_LETTERS: Final = 80
_MOST_WIDTH, _MOST_OTHERS = 256, 4096
"""Networks that are looked at to see whether a state dict is theirs are not larger."""


@dataclass(slots=True)
class _Misfit:
    """Names of the tensors that stand in the way, by how they do."""

    missing: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.misshapen or self.unexpected)

    def __str__(self) -> str:
        parts = (
            ("it lacks", self.missing),
            ("it has in another shape", self.misshapen),
            ("it has without a place", self.unexpected),
        )
        return "; ".join(f"{what} {_listed(names)}" for what, names in parts if names)


def fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    remedy: Callable[[], str] = str,
) -> None:
    """Copy a state dict into a network.

    Parameters
    ----------
    model : nn.Module
        What is filled.
    state : mapping of str to Tensor
        By the names of the network's parameters and buffers.
    source : str
        Where the tensors come from, for messages.
    remedy : callable
        Makes what a message adds where they do not fit.

    Raises
    ------
    InputError
        If a tensor is missing, has another shape, is no tensor, or has no place in the network;
        if it is not dense, not finite, or of another kind.
    """
    wanted = model.state_dict()
    misfit = _misfit(wanted, state)
    if misfit:
        raise InputError(f"{source} does not fit the network: {misfit}{remedy()}")
    for name, tensor in wanted.items():
        if name in state:
            check_tensor(name, state[name], wanted=tensor.dtype, source=source)
    model.load_state_dict(dict(state), strict=False)


def fill_foreign(model: nn.Module, state: StateDict) -> None:
    """Copy a state dict of other programs' names into a network.

    Raises
    ------
    InputError
        As `fill`; where the tensors are those of another known network, it is named.
    """
    named = state.named_as(model.state_dict().keys())
    fill(model, named, state.source, lambda: _remedy(state))


def _misfit(wanted: Mapping[str, Tensor], state: Mapping[str, object]) -> _Misfit:
    misfit = _Misfit(unexpected=[_shown(name) for name in state if name not in wanted])
    for name, tensor in wanted.items():
        shape, found = list(tensor.shape), state.get(name)
        if found is None and name.endswith(_COUNTER):
            continue
        if found is None:
            misfit.missing.append(f"{name} {shape}")
        elif not isinstance(found, Tensor) or found.shape != tensor.shape:
            other = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            misfit.misshapen.append(f"{name} {other}, not {shape}")
    return misfit


def _shown(name: object) -> str:
    """What a file has for a name, which may be long, of several lines, and no string."""
    plain = isinstance(name, str) and name.isprintable()
    return f"{name if plain else repr(name)}"[:_MOST_LETTERS]


def _listed(names: list[str]) -> str:
    shown, more = names[:_MOST_SHOWN], len(names) - _MOST_SHOWN
    return f"{', '.join(shown)}{f' and {more} more' if more > 0 else ''}"


def _remedy(state: StateDict) -> str:
    """Name the known network whose tensors these are, if any is."""
    found = _known_network(state.tensors)
    if found is None:
        return " (nor does it fit any other network that is known by name, in full precision)"
    name, shape = found
    return (
        f" (it fits a {name} of width {shape['width']} in full precision, for images of "
        f"{shape['in_channels']} channels in {shape['num_classes']} classes: choose a recipe of "
        "that, or replace its model, width or dataset with --set)"
    )


def _known_network(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, int]] | None:
    """Find the network that a state dict fits, by its first convolution and its last layer."""
    convolutions = [tensor.shape for tensor in tensors.values() if tensor.dim() == 4]
    linear = [tensor.shape for tensor in tensors.values() if tensor.dim() == 2]
    if not convolutions or not linear:
        return None
    width, in_channels = convolutions[0][:2]
    num_classes = linear[-1][0]
    others = (in_channels, num_classes)
    if not 1 <= width <= _MOST_WIDTH or min(others) < 1 or max(others) > _MOST_OTHERS:
        return None
    shape = {"width": width, "in_channels": in_channels, "num_classes": num_classes}
    for name in TOPOLOGIES:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            wanted = build(name, **shape).state_dict()
        named = StateDict(source="", tensors=dict(tensors)).named_as(wanted.keys())
        if not _misfit(wanted, named):
            return name, shape
    return None
