"""Names for the layers of a network that was rewritten."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from torch import nn

from asq_hw.network.names import MAX_NAME_LENGTH

__all__ = ["add_layer", "layer_names"]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.]")
_DIGEST_LENGTH = 8


def layer_names(wanted: Sequence[str]) -> list[str]:
    """A free, valid name for each wanted one, in their order.

    No name is the path of a folder of others, since a module has no children here: a layer that
    shares its name with one gets it with a number behind.
    """
    taken: set[str] = set()
    folders: set[str] = set()
    for name in map(_valid, wanted):
        folders |= {name[: match.start()] for match in re.finditer(r"\.", name)}
    names = []
    for name in map(_valid, wanted):
        free, number = name, 0
        while free in taken or free in folders:
            number += 1
            free = f"{name}_{number}"
        taken.add(free)
        names.append(free)
    return names


def _valid(name: str) -> str:
    """A name of the characters and the length that a model file takes."""
    valid = _NOT_IN_NAMES.sub("_", name).strip(".") or "layer"
    if len(valid) > MAX_NAME_LENGTH - 5:  # room for a number
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
        valid = f"{digest}.{valid[-(MAX_NAME_LENGTH - 6 - _DIGEST_LENGTH) :].lstrip('.')}"
    return valid


def add_layer(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put a layer under its name, with the modules that the dots in it stand for."""
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, module)
