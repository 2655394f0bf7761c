"""``asq-hw check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.options import FormatOption, integers
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.cli.requirements import require_torch
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from asq_hw.interface.check import Report as Findings

__all__ = ["check"]

DEFAULT_SIZE = "3,224,224"
COLUMNS = (
    Column(key="name", heading="layer"),
    Column(key="kind", heading="kind"),
    Column(key="weights", heading="weights"),
    Column(key="place", heading="place"),
    Column(key="input", heading="input"),
)


def check(
    network: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:BUILDER|NET.onnx",
            help="A function of a Python file, or of MODULE:BUILDER, that makes the network; or an "
            "ONNX file.",
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Its state dict.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|DIR|FILE.npy",
            help="Data set whose images have the size it takes, or an array of them.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="C,H,W|C",
            help="That size, or a vector's, where there is no data set; default: what an ONNX file "
            f"says, or {DEFAULT_SIZE}.",
        ),
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Say what would become of a network of your own, and all that stops it, before any training.

    Exit status 1 where something stops it.
    """
    require_torch("check")
    from asq_hw.interchange.floating import is_onnx
    from asq_hw.interface.check import check as examine
    from asq_hw.train.checkpoints.checkpoint import Checkpoint, load_any
    from asq_hw.train.floating import check_image_shape, example_images, own_network, told_shape
    from asq_hw.train.models.own import own_code

    if weights is not None and is_onnx(network):
        raise InputError(f"--weights goes with FILE.py:BUILDER; {network} has its weights in it")
    found = None if weights is None else load_any(weights)
    if isinstance(found, Checkpoint):
        raise InputError(f"{weights} is a checkpoint, whose network was taken already")
    model = own_network(network, found)
    shape = _shape(data, size) or told_shape(model) or integers("--input", DEFAULT_SIZE)
    check_image_shape(network, model, shape)
    example = example_images(shape)
    with own_code(network):
        report = examine(model, example)
    show(_report(network, report), form)
    if not report.ok:
        raise typer.Exit(1)


def _shape(data: str | None, size: str | None) -> tuple[int, ...] | None:
    """Shape of the images or vectors, where the options say it."""
    if data is not None:
        from asq_hw import datasets
        from asq_hw.datasets.samples import is_array_file, read_samples

        if is_array_file(data):
            return read_samples(data).shape[1:]
        return datasets.open_dataset(data).image_shape
    if size is None:
        return None
    found = integers("--input", size)
    if len(found) not in (1, 3) or min(found) < 1:
        raise InputError(
            f"--input must be channels, height and width, or a vector's channels, not {size!r}"
        )
    return found


def _report(network: str, report: Findings) -> Report:
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "weights": " x ".join(map(str, layer.weights)),
            "place": "first or last" if layer.is_edge else "inner",
            "input": "signed" if layer.signed_input else "unsigned",
        }
        for layer in report.layers
    ]
    findings: list[dict[str, Any]] = [
        {
            "kind": str(finding.kind),
            "place": finding.place,
            "source": finding.source,
            "what": finding.what,
            "remedy": finding.remedy,
        }
        for finding in report.findings
    ]
    verdict = "can be quantized" if report.ok else "cannot be quantized"
    return Report(
        headline=[f"{network} {verdict}"],
        table=Table(columns=COLUMNS, rows=rows),
        document={"network": network, "ok": report.ok, "layers": rows, "findings": findings},
        notes=[f"{finding.kind}: {finding}" for finding in report.findings],
    )
