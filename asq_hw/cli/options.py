"""Options that several commands share, and how a number is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from asq_hw.cli.output import OutputFormat
from asq_hw.errors import InputError
from asq_hw.files.packaged import PACKAGED_MODELS

__all__ = [
    "BUNDLED",
    "MODEL_HELP",
    "DataOption",
    "FormatOption",
    "LimitOption",
    "OverridesOption",
    "ThreadsOption",
    "WorkersOption",
    "choose",
    "examples",
    "integer",
    "integers",
    "memory_size",
    "model_path",
    "numbers",
    "output_format",
    "real",
]

Choice = TypeVar("Choice", bound=StrEnum)

BUNDLED = "bundled"
"""What the first packaged network and the packaged images are called on the command line."""

MODEL_HELP = "Model file; bundled (or fashion-mnist) and cifar10 are the packaged networks."


def model_path(name: str) -> Path:
    """Path of the model file that is named on the command line."""
    return PACKAGED_MODELS.get(name, Path(name))


def integer(text: str) -> int:
    """Read an integer; the complaint names what was typed."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"must be an integer, not {text!r}") from None


def real(text: str) -> float:
    """Read a number; the complaint names what was typed."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number, not {text!r}") from None


def memory_size(text: str) -> int:
    """Read a number of bytes such as ``4G``; K, M and G are powers of 1,024."""
    found = re.fullmatch(r"([1-9][0-9]{0,14})([KMG]?)", text)
    if not found:
        raise typer.BadParameter(f"must be a size such as 500M or 4G, not {text!r}")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


def integers(thing: str, text: str) -> tuple[int, ...]:
    """Read integers between commas, such as ``2,3,4,8``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{thing} must be integers such as 2,3,4, not {text!r}") from None


def numbers(thing: str, text: str) -> tuple[float, ...]:
    """Read numbers between commas, such as ``0.5,0.25,0.25``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{thing} must be numbers such as 0.5,0.5,0.5, not {text!r}") from None


def choose(choices: type[Choice], thing: str, text: str) -> Choice:
    """Read one of an enumeration's values."""
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(choices)
        raise InputError(f"{thing} must be one of {known}, not {text!r}") from None


def output_format(text: str) -> OutputFormat:
    """Read the name of an output format."""
    try:
        return OutputFormat(text)
    except ValueError:
        known = ", ".join(OutputFormat)
        raise typer.BadParameter(f"must be one of {known}, not {text!r}") from None


def examples(commands: Sequence[str]) -> str:
    """Text under a command's help."""
    heading = "Example:" if len(commands) == 1 else "Examples:"
    return "\n\n".join([heading, *(f"  $ {command}" for command in commands)])


FormatOption = Annotated[
    OutputFormat,
    typer.Option(
        "--format",
        parser=output_format,
        metavar="|".join(OutputFormat),
        help="How to print the result.",
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|DIR|FILE.npy",
        help="Data set by name, or its folder or archive; or an array of inputs; default: bundled, "
        "and cifar10 for the network of that name.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", parser=integer, metavar="N", help="Use N images only, drawn evenly from all."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", parser=integer, metavar="N", help="Threads; default: all cores."),
]
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe; repeatable."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        parser=integer,
        metavar="N",
        help="Processes that read images in folders; default: the cores there are.",
    ),
]
