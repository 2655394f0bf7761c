"""``asq-hw import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.options import FormatOption, memory_size, numbers
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.cli.own import (
    InputBitsOption,
    MeanOption,
    StdOption,
    StepOption,
    UnsignedOption,
    input_format,
    told_options,
)
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.interchange.quantized import load_qonnx
from asq_hw.network.input_format import PIXELS

if TYPE_CHECKING:
    from asq_hw.network.images import ImageSpec

__all__ = ["import_network"]

COLUMNS = (
    Column(key="model", heading="model"),
    Column(key="layers", heading="layers", form="d"),
    Column(key="bytes", heading="bytes", form=",d"),
)


def import_network(
    network: Annotated[
        Path, typer.Argument(metavar="NET.onnx", help="A QONNX file, as Brevitas exports it.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model file to write.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|DIR",
            help="Data set that it was trained on: its classes, mean and deviation.",
        ),
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    input_bits: InputBitsOption = None,
    unsigned: UnsignedOption = False,
    step: StepOption = None,
    memory_limit: Annotated[
        int | None,
        typer.Option(
            "--memory-limit",
            parser=memory_size,
            metavar="SIZE",
            help="Largest file that is read, such as 2G; default: 512M.",
        ),
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Turn a QONNX network, whose codes and scales are constants, into an integer network.

    Without --data or --mean and --std, it takes pixels from 0 to 1. With --step it takes other
    integers than pixels: integer * step is what it was trained on.
    """
    check_outputs({"--output": output}, {"network": network, "--data": data})
    told = told_options(input_bits=input_bits, unsigned=unsigned or None, step=step)
    if told and step is None:
        raise InputError(f"{told[0]} goes with --step, what one of the integers stands for")
    if told and data is not None:
        raise InputError("--step is of an input that is no image; --data names images")
    images = None if data is None else _images_of(data)
    known_mean, known_std = ((0.0,), (1.0,)) if images is None else (images.mean, images.std)
    made = load_qonnx(
        network,
        mean=known_mean if mean is None else numbers("--mean", mean),
        std=known_std if std is None else numbers("--std", std),
        classes=() if images is None else images.classes,
        input=input_format(input_bits, unsigned=unsigned, step=step) if told else PIXELS,
        limit=memory_limit,
    )
    from asq_hw import modelfile

    if images is not None and images.shape != made.image_shape:
        raise InputError(f"{network} takes images of {made.image_shape}, {data} has {images.shape}")
    modelfile.save(made, output)
    row = {
        "model": str(output),
        "name": made.name,
        "layers": len(made.layers),
        "bytes": output.stat().st_size,
    }
    show(Report(table=Table(columns=COLUMNS, rows=[row]), document=row), form)


def _images_of(data: str) -> ImageSpec:
    from asq_hw import datasets
    from asq_hw.datasets.fitting import image_spec

    return image_spec(datasets.open_dataset(data))
