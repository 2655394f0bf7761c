"""State dicts as other programs save them: wrapped in a dictionary, with prefixes and other names.

A state dict says nothing of its network, so what is done to its names here is only what cannot be
meant otherwise: a prefix goes if every name has it, and a name is translated if the network has
the translation and not the name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from torch import Tensor

from asq_hw.errors import InputError

__all__ = ["StateDict", "state_dict_of"]

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "net")
"""Under which name training programs keep the state dict in a dictionary with other things."""
_PREFIXES: Final = ("module.", "_orig_mod.", "model.", "net.")
"""Of DataParallel, of torch.compile, and of programs that keep the network as an attribute."""
_SYNONYMS: Final = {"linear": "fc", "shortcut": "downsample"}
"""Parts of names in the common ResNets for CIFAR, and what torchvision calls them."""
_MOST_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDict:
    """Tensors by name, of a network that something else must name.

    Parameters
    ----------
    source : str
        Where they come from, for messages.
    tensors : dict of str to Tensor
        By name, without a prefix that all names have.
    """

    source: str
    tensors: dict[str, Tensor]

    def named_as(self, wanted: Collection[str]) -> dict[str, Tensor]:
        """The tensors under a network's own names, where another name means the same."""
        named = {self._own_name(name, wanted): tensor for name, tensor in self.tensors.items()}
        return named if len(named) == len(self.tensors) else self.tensors

    def _own_name(self, name: str, wanted: Collection[str]) -> str:
        translated = ".".join(_SYNONYMS.get(part, part) for part in name.split("."))
        meant = name not in wanted and translated in wanted and translated not in self.tensors
        return translated if meant else name


def state_dict_of(content: object, source: str) -> StateDict:
    """Find the state dict in what a file holds.

    Parameters
    ----------
    content : object
        The state dict itself, or a dictionary that has it under ``state_dict``,
        ``model_state_dict``, ``model`` or ``net``.
    source : str
        Where it comes from, for messages.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    if _holds_tensors(content):
        return StateDict(source=source, tensors=_without_prefix(content))
    entries = content if isinstance(content, Mapping) else {}
    found = [name for name in _WRAPPERS if _holds_tensors(entries.get(name))]
    if len(found) > 1:
        raise InputError(
            f"{source} holds state dicts under {' and '.join(found)}: save the one that is meant "
            "in a file of its own"
        )
    if not found:
        raise InputError(
            f"{source} is neither a checkpoint of asq-hw train nor a state dict, by itself or "
            f"under one of {', '.join(_WRAPPERS)}{_instead(entries)}"
        )
    return StateDict(source=source, tensors=_without_prefix(entries[found[0]]))


def _holds_tensors(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take away what wrappers have put before every name."""
    names = list(tensors)
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in names)), None):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, tensors.values(), strict=True))


def _instead(entries: Mapping[object, object]) -> str:
    names = [repr(key)[:40] for key in entries]
    if not names:
        return ""
    shown = ", ".join(names[:_MOST_SHOWN])
    return f"; it holds {shown}{', ...' if len(names) > _MOST_SHOWN else ''}"
