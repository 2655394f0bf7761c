"""Outputs: which of its maps a network gives out, and which of them is class scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.names import check_name

__all__ = ["MAX_OUTPUTS", "SCORES_NAME", "Output", "check_outputs", "only_scores"]

MAX_OUTPUTS = 256
"""Most outputs of a network."""

SCORES_NAME = "scores"
"""What the output is called that a network has where it names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A name for a layer's map that the network gives out.

    Parameters
    ----------
    name : str
        Under the same rule as a layer's, whose names it may be one of.
    layer : str
        The layer whose map it is. Several outputs may be one map.
    is_scores : bool
        Whether the map, of shape (C, 1, 1), holds a score for each class: the predicted class is
        then the index of the largest. One output at most does.
    """

    name: str
    layer: str
    is_scores: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.layer)


def only_scores(layer: str) -> tuple[Output, ...]:
    """The outputs of a network that names none: class scores, the map of its last `layer`."""
    return (Output(name=SCORES_NAME, layer=layer, is_scores=True),)


def check_outputs(outputs: Sequence[Output], maps: Mapping[str, FeatureMap]) -> None:
    """Raise InputError unless these can be the outputs of a network with these maps.

    Parameters
    ----------
    outputs : sequence of Output
    maps : mapping of str to FeatureMap
        By layer.
    """
    if not 1 <= len(outputs) <= MAX_OUTPUTS:
        raise InputError(f"a network must have 1..{MAX_OUTPUTS} outputs, not {len(outputs)}")
    names = [output.name for output in outputs]
    for output in outputs:
        if names.count(output.name) > 1:
            raise InputError(f"the output {output.name} must be named once, not twice")
        if output.layer not in maps:
            raise InputError(f"the output {output.name} must be a layer's, not {output.layer!r}")
    scores = [output for output in outputs if output.is_scores]
    if len(scores) > 1:
        raise InputError(
            f"one output at most can be class scores, not both {scores[0].name} and "
            f"{scores[1].name}"
        )
    for output in scores:
        shape = maps[output.layer].shape
        if shape[1:] != (1, 1):
            raise InputError(
                f"{output.layer}: a network's class scores must be (C, 1, 1), not {shape}"
            )
