"""Networks of one's own: what a function in somebody's file, or in a module, returns; ONNX files.

Such a network is named ``NET.onnx``, ``FILE.py:BUILDER`` or ``MODULE:BUILDER``. Reading ONNX runs
nothing. Building one of the others runs its code, also where a checkpoint names it. So a
checkpoint's word is not enough for modules of Python's own library, whose functions can do
anything, and nothing is ever installed or fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from asq_hw.errors import InputError
from asq_hw.interchange.floating import is_onnx, load_onnx

__all__ = ["build_own", "file_of", "is_own", "own_code"]

_FILE = ".py"
_LIBRARIES = tuple(
    os.path.join(os.path.realpath(path), "")
    for path in (
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("purelib"),
        os.path.dirname(torch.__file__),
        Path(__file__).parents[2],
    )
)


def is_own(name: str) -> bool:
    """Whether a network's name is that of somebody's builder, or of an ONNX file."""
    return ":" in name or is_onnx(name)


def file_of(name: str) -> str | None:
    """The file that a network's name gives; None for a module, and for a known network."""
    if is_onnx(name):
        return name
    path = name.rpartition(":")[0]
    return path if path.endswith(_FILE) else None


def build_own(name: str) -> nn.Module:
    """Make a network of one's own: import its builder, and call it without arguments.

    Parameters
    ----------
    name : str
        ``FILE.py:BUILDER``, or ``MODULE:BUILDER``; the builder is a function or a class. Or the
        path of an ONNX file.

    Raises
    ------
    InputError
        If there is no such builder, its code raises anything, or it returns no network; or the file
        cannot be read.
    """
    if is_onnx(name):
        return load_onnx(name)
    path, _, builder = name.rpartition(":")
    if not path or not builder.isidentifier():
        raise InputError(f"a network must be given as FILE.py:BUILDER or NET.onnx, not {name!r}")
    with _importable(path), own_code(name):
        module = _from_file(path) if path.endswith(_FILE) else _by_name(path)
        function = getattr(module, builder, None)
        if not callable(function):
            raise InputError(f"{path} must have a function {builder!r}, which makes the network")
        made = function()
    if not isinstance(made, nn.Module):
        raise InputError(f"{name} must return a torch.nn.Module, not {type(made).__name__}")
    return made


@contextmanager
def own_code(name: str) -> Iterator[None]:
    """Run somebody's code: what it prints goes to standard error.

    Raises
    ------
    InputError
        For whatever it raises, with the file and the line.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # it can raise anything
        reason = next(iter(str(error).strip().splitlines()), "")
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise InputError(f"{name}{_place(error)}: {what}") from error


def _place(error: BaseException) -> str:
    """Where in the user's code an error comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({os.path.basename(error.filename)}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith("<")
        and not os.path.realpath(frame.filename).startswith(_LIBRARIES)
    ]
    return f" ({os.path.basename(own[-1].filename)}:{own[-1].lineno})" if own else ""


@contextmanager
def _importable(path: str) -> Iterator[None]:
    """Let code import what lies beside it, as if it was started there."""
    before = list(sys.path)
    folder = Path(path).resolve().parent if path.endswith(_FILE) else Path.cwd()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _from_file(path: str) -> ModuleType:
    file = Path(path).resolve()
    if not file.is_file():
        raise InputError(f"{path} must be a file of Python code, and there is none")
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:12]
    specification = importlib.util.spec_from_file_location(f"_own_{digest}_{file.stem}", file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module  # as dataclasses and pickles need it
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def _by_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"a network's module must be a name such as package.module, not {name!r}")
    if name.partition(".")[0] in sys.stdlib_module_names:
        raise InputError(f"a network's module must be none of Python's own library, not {name!r}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise InputError(f"there is no module {name!r} to take a network from") from None
        raise
