"""A QONNX file, straight to an integer network."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from asq_hw.errors import InputError
from asq_hw.interchange.library import require_onnx
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.images import ImageSpec, by_channel
from asq_hw.network.input_format import PIXELS, InputFormat
from asq_hw.network.names import MAX_NAME_LENGTH

__all__ = ["load_qonnx"]


def load_qonnx(
    path: str | os.PathLike[str],
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    classes: Sequence[str] = (),
    input: InputFormat = PIXELS,
    limit: int | None = None,
) -> IntegerNetwork:
    """Read a network whose weights and maps go through ``Quant`` nodes, as Brevitas exports it.

    Parameters
    ----------
    path : str or path
    mean, std : float, or a sequence of one for each channel
        How its images were normalized: it sees ``(pixel / 255 - mean) / std``.
    classes : sequence of str
        What each score stands for; empty where that does not matter.
    input : InputFormat
        The integers that it takes, where they are no pixels, with their step.
    limit : int, optional
        Most bytes of the file; by default 512 MiB.

    Raises
    ------
    InputError
        If the library onnx is missing, the file is broken or too new, or something in it has no
        integer form; with the name of the node.
    """
    require_onnx("reading QONNX")
    from asq_hw.interchange.reading.file import DEFAULT_LIMIT, read_model
    from asq_hw.interchange.reading.graph import graph_of
    from asq_hw.interchange.reading.quantized.network import to_network
    from asq_hw.interchange.reading.quantized.quant import QUANT_OPERATORS

    name = os.fspath(path)
    model = read_model(path, DEFAULT_LIMIT if limit is None else limit)
    try:
        if input.step is None:
            raise InputError("an input's step must be given")
        graph = graph_of(model)
        if not any(node.operator in QUANT_OPERATORS for node in graph.nodes):
            raise InputError(
                "it has no Quant nodes: a network in floating point is for asq-hw quantize"
            )
        channels, height, width = (*graph.shape, 1, 1)[:3]
        images = ImageSpec(
            shape=(channels, height, width),
            mean=by_channel("mean", mean, channels),
            std=by_channel("std", std, channels),
            format=input,
        )
        return to_network(
            graph,
            name=_network_name(path),
            mean=images.mean,
            std=images.std,
            classes=classes,
            form=input,
            metadata={"source": "QONNX"},
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _network_name(path: str | os.PathLike[str]) -> str:
    stem = re.sub(r"\W+", "_", Path(path).stem, flags=re.ASCII).lstrip("0123456789_").rstrip("_")
    return stem[:MAX_NAME_LENGTH] or "network"
