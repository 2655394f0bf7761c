"""Networks of one's own on the command line: who builds them, and what goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.options import integer, numbers
from asq_hw.errors import InputError
from asq_hw.network.input_format import InputFormat

if TYPE_CHECKING:
    from asq_hw.train.recipes import Recipe

__all__ = [
    "BitsOption",
    "InputBitsOption",
    "MeanOption",
    "NetworkArgument",
    "OwnDataOption",
    "StdOption",
    "StepOption",
    "UnsignedOption",
    "WeightsOption",
    "check_weights",
    "chosen_recipe",
    "input_format",
    "told_options",
]

DEFAULT_INPUT_BITS = 16
"""Of integers that are no pixels."""

NetworkArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE.py:BUILDER|NET.onnx]",
        help="A network of your own: the function of a Python file, or of MODULE:BUILDER, that "
        "makes it; or an ONNX file.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Of a network of your own: its state dict."),
]
OwnDataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|DIR",
        help="Data set by name, or its folder or archive; default: the recipe's.",
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="M,M,M",
        help="Mean of pixel / 255 that the images are normalized with; default: the data set's.",
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option("--std", metavar="S,S,S", help="Their deviation; default: the data set's."),
]
BitsOption = Annotated[
    int | None,
    typer.Option(
        "--bits",
        parser=integer,
        metavar="B",
        help="Width of weights and activations but in the first and the last layer; --set "
        "chooses more.",
    ),
]

InputBitsOption = Annotated[
    int | None,
    typer.Option(
        "--input-bits",
        parser=integer,
        metavar="B",
        help="Where the input is no image: width of its integers, 2 to 16; default: 16.",
    ),
]
UnsignedOption = Annotated[
    bool,
    typer.Option("--unsigned", help="Where the input is no image: its integers are not negative."),
]
StepOption = Annotated[
    str | None,
    typer.Option(
        "--step",
        metavar="S|N/D",
        help="Where the input is no image: what one of its integers stands for.",
    ),
]


def input_format(bits: int | None, *, unsigned: bool, step: str | None) -> InputFormat:
    """The integers that a network takes instead of pixels, as the three options say.

    Raises
    ------
    InputError
        If the width or the step is out of range, or the step is no number.
    """
    width = DEFAULT_INPUT_BITS if bits is None else bits
    return InputFormat(bits=width, signed=not unsigned, step=step)  # type: ignore[arg-type]  # read there


def told_options(**values: object) -> list[str]:
    """The options that were given, that is, whose value is not None: ``--input-bits``."""
    return [f"--{key.replace('_', '-')}" for key, value in values.items() if value is not None]


def chosen_recipe(
    network: str | None,
    recipe: str | None,
    overrides: list[str] | None,
    *,
    data: str | None,
    mean: str | None,
    std: str | None,
    bits: int | None,
) -> Recipe:
    """The recipe that the options name, for a network of one's own or for a known one.

    Parameters
    ----------
    network : str or None
        ``FILE.py:BUILDER`` or ``NET.onnx``; None where the recipe names the network.
    recipe : str or None
        What ``--recipe`` says.
    overrides : list of str or None
        What ``--set`` says.
    data, mean, std, bits
        What the options of these names say, if anything.

    Raises
    ------
    InputError
        If they name no network or no data, or a value cannot be used.
    """
    from asq_hw.train import recipes

    if network is None and recipe is None:
        raise InputError(
            "a network must be named: FILE.py:BUILDER, NET.onnx, or a recipe with --recipe"
        )
    pairs = [*(overrides or ())]
    pairs += [] if bits is None else [f"weight_bits={bits}", f"activation_bits={bits}"]
    for key, option, text in (("mean", "--mean", mean), ("std", "--std", std)):
        pairs += [] if text is None else [f"{key}={','.join(map(str, numbers(option, text)))}"]
    pairs += [] if data is None else [f"dataset={data}"]
    if network is None:
        assert recipe is not None
        return recipes.load(recipe, pairs)
    _check_builder(network)
    if recipe is not None:
        return recipes.load(recipe, [*pairs, f"model={network}"])
    if data is None:
        raise InputError(f"--data must name the images that {network} is for")
    return recipes.own(network, data, pairs)


def check_weights(network: str, weights: Path | None) -> None:
    """Refuse a trained network without its weights, and weights for a file that has its own.

    Raises
    ------
    InputError
    """
    from asq_hw.interchange.floating import is_onnx

    if is_onnx(network) and weights is not None:
        raise InputError(f"--weights goes with FILE.py:BUILDER; {network} has its weights in it")
    if not is_onnx(network) and weights is None:
        raise InputError(f"--weights must name the trained weights of {network}")


def _check_builder(network: str) -> None:
    from asq_hw.train.models.own import is_own

    if not is_own(network):
        raise InputError(
            f"a network of your own must be given as FILE.py:BUILDER or NET.onnx, not {network!r}; "
            "known networks are named by a recipe, with --recipe"
        )
