"""A network in floating point, from an ONNX file to a module of torch's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asq_hw.errors import InputError
from asq_hw.interchange.library import require_onnx

if TYPE_CHECKING:
    from torch import fx

__all__ = ["IMAGE_SHAPE", "is_onnx", "load_onnx"]

IMAGE_SHAPE = "image_shape"
"""Key of a module's ``meta``: the shape of its images, or vectors, without the batch."""

_SUFFIX = ".onnx"


def is_onnx(name: str | os.PathLike[str]) -> bool:
    """Whether a network's name is that of an ONNX file."""
    return os.fspath(name).endswith(_SUFFIX)


def load_onnx(path: str | os.PathLike[str]) -> fx.GraphModule:
    """Read a network in floating point; it is quantized like any other.

    Parameters
    ----------
    path : str or path
        An ONNX file with one input of images, whose channels, height and width are fixed, or of
        vectors.

    Returns
    -------
    torch.fx.GraphModule
        It, in evaluation mode, with its weights; several outputs are a dict by name. Layers are
        called like the file's nodes, with ``_`` for what is no letter or digit.

    Raises
    ------
    InputError
        If the library onnx is missing, the file is broken or too new, or a node has no counterpart;
        with its name.
    """
    require_onnx("reading ONNX")
    from asq_hw.interchange.reading.file import read_model
    from asq_hw.interchange.reading.floating.network import to_module
    from asq_hw.interchange.reading.graph import graph_of

    name = os.fspath(path)
    model = read_model(path)
    try:
        graph = graph_of(model)
        module = to_module(graph)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    module.meta[IMAGE_SHAPE] = graph.shape
    return module
