"""``asq-hw convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asq_hw.cli.options import BUNDLED, MODEL_HELP, FormatOption, integer, model_path
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.files.outputs import check_outputs
from asq_hw.interchange.export import DIALECT_NAMES, save_onnx

__all__ = ["convert"]

COLUMNS = (
    Column(key="output", heading="file"),
    Column(key="to", heading="format"),
    Column(key="layers", heading="layers", form="d"),
    Column(key="bytes", heading="bytes", form=",d"),
)


def convert(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="NET.onnx", help="The file to write.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="|".join(DIALECT_NAMES),
            help="Plain ONNX, which runtimes execute in integers; or QONNX, with Quant nodes.",
        ),
    ],
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)] = BUNDLED,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            parser=integer,
            metavar="N",
            help="Images that a QONNX file is for; an ONNX file takes any number.",
        ),
    ] = 1,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write an integer network as ONNX or QONNX, which compute the same integers."""
    check_outputs({"--output": output}, {"model": model_path(model)})
    from asq_hw import modelfile

    network = modelfile.load(model_path(model))
    save_onnx(network, output, to=to, batch_size=batch_size)
    row = {
        "model": network.name,
        "output": str(output),
        "to": to,
        "layers": len(network.layers),
        "bytes": output.stat().st_size,
    }
    show(Report(table=Table(columns=COLUMNS, rows=[row]), document=row), form)
