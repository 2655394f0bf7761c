"""An emitted folder: there whole or, if anything goes wrong, as it was before."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from rtl.design import Design
from rtl.emit.constraints import DEFAULT_CLOCK_MHZ, constraints
from rtl.emit.manifest import core, manifest
from rtl.emit.occupant import Occupant, occupant
from rtl.emit.testbench import testbench
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import cell_models, to_verilog

__all__ = ["DEFAULT_OPERATIONS", "MANIFEST", "Emitted", "check_free", "emit"]

DEFAULT_OPERATIONS = 8192
"""Operations in an emitted folder's vectors."""

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """A folder that was written: `files` are its files' names by what they are."""

    folder: Path
    top: str
    files: dict[str, str]
    vectors: Vectors


def emit(
    design: Design,
    output: str | os.PathLike[str],
    *,
    operations: int = DEFAULT_OPERATIONS,
    clock_mhz: float = DEFAULT_CLOCK_MHZ,
    force: bool = False,
) -> Emitted:
    """Write a design's Verilog, test bench, vectors, constraints and manifest into a folder.

    A new folder appears at once. In one that holds the same unit each file is replaced whole, the
    manifest last, and other files stay. One that holds another unit is left as it is, or with
    `force` that unit's files are removed behind the new ones.

    Parameters
    ----------
    design : Design
        The unit.
    output : path
        The folder; made if missing.
    operations : int
        Random operations of the test bench.
    clock_mhz : float
        Clock of the constraints and of the test bench.
    force : bool
        Whether another unit that is there may be replaced.

    Raises
    ------
    InputError
        If `output` cannot be a folder or be written to, holds another unit, or Yosys is missing.
    """
    target = Path(output)
    _check_folder(target)
    before = occupant(target, MANIFEST)
    check_free(target, design.name, before, force=force)
    vectors = Vectors.random(design, operations)
    texts, files = _texts(design, vectors, clock_mhz)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from error
    try:
        for name, text in texts.items():
            with atomic_write(work / name) as file:
                file.write(text.encode())
        _move(work, target, list(texts))
        for name in before.files - texts.keys() if before else ():
            (target / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Emitted(folder=target, top=design.name, files=files, vectors=vectors)


def check_free(target: Path, name: str, before: Occupant | None, *, force: bool) -> None:
    """Raise InputError if `target` holds another unit than `name`, unless it may be replaced.

    Parameters
    ----------
    target : Path
        The folder.
    name : str
        The unit that is to be written.
    before : Occupant or None
        What is there.
    force : bool
        Whether that may be replaced.
    """
    if before is None or before.name == name or force:
        return
    raise InputError(
        f"{target} holds {before.description}: write {name} into another folder, or replace what "
        "is there with --force"
    )


def _check_folder(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"cannot write into {target}: it is a file, not a folder")
    for parent in target.parents:
        if parent.exists():
            if not parent.is_dir():
                raise InputError(f"cannot write into {target}: {parent} is a file, not a folder")
            break


def _texts(
    design: Design, vectors: Vectors, clock_mhz: float
) -> tuple[dict[str, str], dict[str, str]]:
    """Text by file name in the order of writing, and file name by what it is."""
    top = design.name
    bounds = constraints(clock_mhz)
    files = {
        "verilog": f"{top}.v",
        **({"cells": f"{top}_cells.v"} if design.cells else {}),
        "testbench": f"{top}_tb.v",
        "vectors": f"{top}.mem",
        **{kind: f"{top}.{kind}" for kind in bounds},
        "core": f"{top}.core",
        "manifest": MANIFEST,
    }
    texts = {
        files["verilog"]: to_verilog(design),
        **({files["cells"]: cell_models(design)} if design.cells else {}),
        files["testbench"]: testbench(design, vectors.cycles),
        files["vectors"]: "".join(vectors.lines()),
        **{files[kind]: text for kind, text in bounds.items()},
        files["core"]: core(design, files),
        files["manifest"]: manifest(design, vectors, files),
    }
    return texts, files


def _move(work: Path, target: Path, names: list[str]) -> None:
    """Rename the whole folder, or file by file where the target is there already."""
    try:
        if not target.exists():
            work.chmod(0o777 & ~_umask())
            os.rename(work, target)
            return
        for name in names:
            os.replace(work / name, target / name)
    except OSError as error:
        raise InputError(f"cannot write into {target}: {error.strerror}") from error


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
