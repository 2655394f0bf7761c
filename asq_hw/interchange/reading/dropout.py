"""Dropout, which does nothing once a network is trained."""

from __future__ import annotations

from asq_hw.interchange.reading.graph import Constant, Node

__all__ = ["check_dropout"]


def check_dropout(node: Node, training: Constant | None) -> None:
    """Raise InputError if a node drops values, too, when a network is evaluated.

    Parameters
    ----------
    node : Node
    training : array or None
        Its third input, ``training_mode``.
    """
    if training is not None and training.any():
        raise node.refused("dropout must be exported in evaluation mode")
