"""Which maps an integer network gives out: those that the trained one returns."""

from __future__ import annotations

from collections.abc import Mapping

from asq_hw.errors import InputError
from asq_hw.network.layers import Conv, Layer, Linear
from asq_hw.network.outputs import SCORES_NAME, Output

__all__ = ["outputs_of", "scores_of"]


def outputs_of(
    results: Mapping[str, str], positions: Mapping[str, int], scores: str | bool
) -> tuple[Output, ...]:
    """The outputs of an integer network.

    Parameters
    ----------
    results : mapping of str to str
        The layers whose maps the network returns, by the names of what it returns.
    positions : mapping of str to int
        Height times width of each layer's map.
    scores : str or bool
        Name of the output that is class scores; True for the only one, where it is a vector, and
        False for none.

    Raises
    ------
    InputError
        If there is no output of that name, or it is no vector.
    """
    if isinstance(scores, str):
        if scores not in results:
            names = ", ".join(results)
            raise InputError(f"scores must be one of the network's outputs {names}, not {scores!r}")
        if positions[results[scores]] != 1:
            raise InputError(f"class scores must be a vector, and the output {scores} is a map")
    elif not isinstance(scores, bool):
        raise InputError(f"scores must be an output's name, True or False, not {scores!r}")
    if len(results) == 1:
        ((name, layer),) = results.items()
        if scores is not False and positions[layer] == 1:
            return (Output(name=SCORES_NAME, layer=layer, is_scores=True),)
        return (Output(name=name, layer=layer),)
    return tuple(
        Output(name=name, layer=layer, is_scores=name == scores) for name, layer in results.items()
    )


def scores_of(layer: Layer) -> int | None:
    """How many scores a network's last layer makes, where that can be seen of it alone."""
    return layer.out_channels if isinstance(layer, Conv | Linear) else None
