"""``asq-hw simulate``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.options import (
    BUNDLED,
    DataOption,
    FormatOption,
    LimitOption,
    ThreadsOption,
    choose,
    integer,
    model_path,
)
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show
from asq_hw.products import Product, ProductKind

if TYPE_CHECKING:
    from asq_hw.cli.accuracy import Accuracy
    from asq_hw.sim import LayerStatistics, SimulationResult

__all__ = ["simulate"]

COLUMNS = (
    Column(key="name", heading="layer"),
    Column(key="kind", heading="kind"),
    Column(key="macs", heading="MACs", form=",d"),
    Column(key="accumulator_bits", heading="accumulator"),
    Column(key="accumulator_bits_used", heading="bits used"),
    Column(key="saturated", heading="saturated", form=",d"),
    Column(key="step_size_min", heading="step min", form=".4f"),
    Column(key="step_size_mean", heading="mean", form=".4f"),
    Column(key="step_size_max", heading="max", form=".4f"),
)
DEFAULT = Product()


def simulate(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="Model file; default: the bundled network.")
    ] = BUNDLED,
    data: DataOption = BUNDLED,
    limit: LimitOption = None,
    threads: ThreadsOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", parser=integer, metavar="N", help="Images that a thread takes at once."
        ),
    ] = None,
    product: Annotated[
        str,
        typer.Option(
            "--product",
            metavar="|".join(ProductKind),
            help="Multiply by odd powers of √2 exactly, or by the paper's table.",
        ),
    ] = DEFAULT.kind,
    lut_fraction_bits: Annotated[
        int,
        typer.Option(
            "--lut-fraction-bits",
            parser=integer,
            metavar="F",
            help="Fraction bits of that table's entries.",
        ),
    ] = DEFAULT.lut_fraction_bits,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Run an integer network bit-accurately, and compare it with the network it came from."""
    arithmetic = Product(
        kind=choose(ProductKind, "product", product), lut_fraction_bits=lut_fraction_bits
    )
    from asq_hw import datasets, modelfile, sim
    from asq_hw.cli.accuracy import measure_accuracy

    dataset = datasets.load(data, limit=limit)
    network = modelfile.load(model_path(model))
    run = sim.simulate if batch_size is None else partial(sim.simulate, batch_size=batch_size)
    with progress_bar("simulating", len(dataset)) as advance:
        result = run(network, dataset.images, product=arithmetic, threads=threads, progress=advance)
    accuracy = measure_accuracy(result.predictions, dataset, network.references)
    show(_report(network.name, dataset.name, arithmetic, accuracy, result), form)


def _report(
    model: str, dataset: str, product: Product, accuracy: Accuracy, result: SimulationResult
) -> Report:
    images = len(result.predictions)
    document = {
        "model": model,
        "dataset": dataset,
        "images": images,
        "product": str(product.kind),
        "lut_fraction_bits": product.lut_fraction_bits,
        **asdict(accuracy),
        "images_per_second": images / result.seconds,
        "layers": [_layer(layer) for layer in result.layers],
    }
    headline = [
        f"{model} on {images:,} images of {dataset}, {product.kind}",
        f"top-1 {_percent(accuracy.top1)}; trained network {_percent(accuracy.reference_top1)}; "
        f"the same prediction on {_percent(accuracy.agreement)}",
        f"{document['images_per_second']:,.0f} images/s",
    ]
    rows = [_row(layer) for layer in result.layers]
    return Report(headline=headline, table=Table(columns=COLUMNS, rows=rows), document=document)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.2%}"


def _layer(layer: LayerStatistics) -> dict[str, Any]:
    """A layer for JSON: step sizes apart, and only where ASQ adapts them."""
    entry = asdict(layer)
    steps = entry.pop("step_size")
    if steps is not None and steps["adaptive"]:
        entry["step_size"] = {
            "min": steps["minimum"],
            "mean": steps["mean"],
            "max": steps["maximum"],
        }
    return entry


def _row(layer: LayerStatistics) -> dict[str, Any]:
    """A layer for tables: one value in each column."""
    entry = _layer(layer)
    steps = entry.pop("step_size", {})
    return entry | {f"step_size_{key}": steps.get(key) for key in ("min", "mean", "max")}
