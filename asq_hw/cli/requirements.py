"""What a command needs beside the package's core."""

from __future__ import annotations

from importlib.util import find_spec

from asq_hw.errors import InputError

__all__ = ["require_torch"]


def require_torch(command: str) -> None:
    """Say what to install before an import fails."""
    if find_spec("torch") is None:
        raise InputError(f"{command} needs PyTorch: pip install 'asq-hw[train]'")
