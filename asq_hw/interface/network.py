"""The integer network that `export` makes, and `load` reads."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from asq_hw import modelfile
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork

__all__ = ["Network", "load", "network_of", "opened"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network(IntegerNetwork):
    """An integer network that can be saved."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write its model file, whole or not at all; one network always gives the same bytes.

        Parameters
        ----------
        path : str or path
            Replaced where it is a file.

        Raises
        ------
        InputError
            If the file cannot be written.
        """
        modelfile.save(self, path)


def network_of(made: IntegerNetwork) -> Network:
    """The same network, as one that can be saved."""
    return Network(**{field.name: getattr(made, field.name) for field in fields(IntegerNetwork)})


def load(path: str | os.PathLike[str]) -> Network:
    """Read an integer network from a model file.

    Parameters
    ----------
    path : str or path
        What ``save`` wrote, or ``asq-hw export``.

    Raises
    ------
    InputError
        If it is none, or is damaged.
    """
    return network_of(modelfile.load(path))


def opened(network: IntegerNetwork | str | os.PathLike[str]) -> IntegerNetwork:
    """A network, or the one of a model file.

    Raises
    ------
    InputError
        If it is neither, or the file cannot be read.
    """
    if isinstance(network, IntegerNetwork):
        return network
    if not isinstance(network, str | os.PathLike):
        raise InputError(
            f"a network must be an integer network or a model file, not {type(network).__name__}"
        )
    return modelfile.load(network)
