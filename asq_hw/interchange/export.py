"""An integer network to an ONNX file."""

from __future__ import annotations

import os

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.interchange.library import require_onnx
from asq_hw.network.graph import IntegerNetwork

__all__ = ["DIALECT_NAMES", "save_onnx"]

DIALECT_NAMES = ("onnx", "qonnx")
"""What a file can be written in."""


def save_onnx(
    network: IntegerNetwork,
    path: str | os.PathLike[str],
    *,
    to: str = "onnx",
    batch_size: int = 1,
) -> None:
    """Write an integer network as a file that other tools execute, whole or not at all.

    Parameters
    ----------
    network : IntegerNetwork
        Any, as `asq_hw.export` makes it or `asq_hw.load` reads it.
    path : str or path
        Replaced where it is a file.
    to : {'onnx', 'qonnx'}
        Plain ONNX in integers, for any number of images; or QONNX, with ``Quant`` nodes.
    batch_size : int
        Number of images that a QONNX file is for.

    Raises
    ------
    InputError
        If the library onnx is missing, something in the network has no form there, or the file
        cannot be written.

    Examples
    --------
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="mean", source="input", multiplier=1, shift=2)
    >>> save_onnx(network("means", input_layer(2, 2), mean), "means.onnx")
    """
    require_onnx("writing ONNX")
    from asq_hw.interchange.writing.dialects import DIALECTS
    from asq_hw.interchange.writing.network import to_model

    if to not in DIALECTS:
        raise InputError(f"to must be one of {', '.join(DIALECTS)}, not {to!r}")
    content = to_model(network, DIALECTS[to], batch_size).SerializeToString(deterministic=True)
    with atomic_write(path) as file:
        file.write(content)
