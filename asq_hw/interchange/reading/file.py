"""ONNX files, opened with distrust."""

from __future__ import annotations

import os

import onnx
from google.protobuf.message import DecodeError

from asq_hw.errors import InputError
from asq_hw.files.reading import read_bounded

__all__ = ["DEFAULT_LIMIT", "opset_of", "read_model"]

DEFAULT_LIMIT = 1 << 29
"""Most bytes of a file; what is made of it takes a few times as many."""

_OLDEST_OPSET, _NEWEST_OPSET = 9, 23
_NEWEST_IR = 13


def read_model(path: str | os.PathLike[str], limit: int = DEFAULT_LIMIT) -> onnx.ModelProto:
    """Read a file whose operators are of versions that are known.

    Parameters
    ----------
    path : str or path
    limit : int
        Most bytes.

    Raises
    ------
    InputError
        If there is no such file, it is longer or broken, keeps tensors in other files, or needs a
        newer version of ONNX.
    """
    name = os.fspath(path)
    content = read_bounded(path, "network", limit)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise InputError(f"{name} is no ONNX file, or is cut off") from None
    if not model.ir_version or not model.graph.node:
        raise InputError(f"{name} is no ONNX file: it holds no network")
    if model.ir_version > _NEWEST_IR:
        raise InputError(
            f"{name}: version {model.ir_version} of ONNX's format is newer than is read "
            f"({_NEWEST_IR})"
        )
    _check_versions(name, model)
    _check_parts(name, model)
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators."""
    return next(int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx"))


def _check_versions(name: str, model: onnx.ModelProto) -> None:
    own = [int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")]
    if len(own) != 1:
        raise InputError(f"{name} must name one version of ONNX's operators, not {len(own)}")
    if not _OLDEST_OPSET <= own[0] <= _NEWEST_OPSET:
        raise InputError(
            f"{name}: the version of its operators (opset) must be "
            f"{_OLDEST_OPSET}..{_NEWEST_OPSET}, not {own[0]}; export it with opset 18"
        )


def _check_parts(name: str, model: onnx.ModelProto) -> None:
    if model.functions:
        function = model.functions[0].name
        raise InputError(f"{name}: functions of a file's own ({function!r}) are not read")
    if model.graph.sparse_initializer:
        raise InputError(f"{name}: sparse tensors are not read")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(
                f"{name}: the tensor {tensor.name!r} is kept in another file; save the network "
                "as one file"
            )
