"""The library that ONNX files are read and written with, loaded where it is first needed."""

from __future__ import annotations

from importlib.util import find_spec

from asq_hw.errors import InputError

__all__ = ["require_onnx"]


def require_onnx(what: str) -> None:
    """Say what to install before an import fails; `what` needs it.

    Raises
    ------
    InputError
        If it is not installed.
    """
    if find_spec("onnx") is None:
        raise InputError(f"{what} needs the library onnx: pip install 'asq-hw[onnx]'")
