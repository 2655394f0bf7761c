"""``asq-hw simulate``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.options import (
    BUNDLED,
    MODEL_HELP,
    DataOption,
    FormatOption,
    LimitOption,
    ThreadsOption,
    choose,
    integer,
    memory_size,
    model_path,
)
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show, warn
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.sim.instruction_sets import AUTO, Kernel
from asq_hw.sim.limits import ANY_NETWORK_BYTES, EACH_WEIGHT_BYTES

if TYPE_CHECKING:
    from asq_hw.cli.accuracy import Accuracy
    from asq_hw.network.graph import IntegerNetwork
    from asq_hw.network.outputs import Output
    from asq_hw.sim import LayerStatistics, SimulationResult, TraceBatch

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

_IMAGES_OF = {"cifar10": "cifar10"}
"""Data sets that are meant where none is named, of networks that do not take the packaged ones."""


def simulate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)] = BUNDLED,
    data: DataOption = None,
    limit: LimitOption = None,
    threads: ThreadsOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", parser=integer, metavar="N", help="Images that a thread takes at once."
        ),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(
            "--product",
            metavar="|".join(ProductKind),
            help="Multiply by odd powers of √2 exactly, by the paper's table, or by codes of √2; "
            "default: what the network was trained for.",
        ),
    ] = None,
    lut_fraction_bits: Annotated[
        int,
        typer.Option(
            "--lut-fraction-bits",
            parser=integer,
            metavar="F",
            help="Fraction bits of that table's entries.",
        ),
    ] = DEFAULT.lut_fraction_bits,
    kernel: Annotated[
        str,
        typer.Option(
            "--kernel",
            metavar="|".join([AUTO, *Kernel]),
            help="Machine code of the dot products; the results are the same bits.",
        ),
    ] = AUTO,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="DIR", help="Write every intermediate tensor, as .npy."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="DIR", help="Name the first tensor that differs from a trace."
        ),
    ] = None,
    memory_limit: Annotated[
        int | None,
        typer.Option(
            "--memory-limit",
            parser=memory_size,
            metavar="SIZE",
            help="Memory that the network may take, such as 4G; default: "
            f"{ANY_NETWORK_BYTES >> 30}G, and {EACH_WEIGHT_BYTES} for each weight.",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ADDRESS|local:N",
            help="Run on a Dask cluster: a scheduler's, or N processes of this machine.",
        ),
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Run an integer network bit-accurately, and compare it with the network it came from."""
    if cluster is not None:
        alone = {"--trace": trace, "--compare": compare, "--threads": threads}
        _check_cluster_options([name for name, value in alone.items() if value is not None])
    data = _IMAGES_OF.get(model, BUNDLED) if data is None else data
    check_outputs(
        {"--trace": trace}, {"model": model_path(model), "--data": data, "--compare": compare}
    )
    kind = None if product is None else choose(ProductKind, "product", product)
    asked = Product(kind=kind or DEFAULT.kind, lut_fraction_bits=lut_fraction_bits)
    from asq_hw import modelfile, sim
    from asq_hw.cli.accuracy import load_for, measure_accuracy

    network = modelfile.load(model_path(model))
    arithmetic = replace(asked, kind=kind or network.product)
    dataset, reference = load_for(network, data, limit)
    run = partial(sim.simulate, threads=threads) if cluster is None else _on_cluster(cluster)
    run = run if batch_size is None else partial(run, batch_size=batch_size)
    comparison = None if compare is None else sim.TraceComparison(compare, network, arithmetic)
    with ExitStack() as stack:
        readers: list[Callable[[TraceBatch], None]] = [comparison] if comparison else []
        if trace is not None:
            writing = sim.write_trace(trace, network, len(dataset), arithmetic)
            readers.append(stack.enter_context(writing))
        result = run(
            network,
            dataset.images,
            product=arithmetic,
            kernel=kernel,
            memory_limit=memory_limit,
            **({"trace": partial(_pass_on, readers)} if readers else {}),
            progress=stack.enter_context(progress_bar("simulating", len(dataset))),
        )
    _warn_of_saturation(network, result)
    predictions = result.predictions if result.has_scores else None
    accuracy = measure_accuracy(predictions, dataset.labels, reference)
    report = _report(network, dataset.name, arithmetic, accuracy, result)
    if comparison is None:
        show(report, form)
        return
    difference = comparison.result()
    document = {**report.document, "difference": asdict(difference) if difference else None}
    notes = [] if difference else [f"Every tensor is equal to the one in {compare}."]
    show(replace(report, document=document, notes=notes), form)
    if difference is not None:
        print(f"asq-hw: not the trace in {compare}: {difference}", file=sys.stderr)
        raise typer.Exit(1)


def _warn_of_saturation(network: IntegerNetwork, result: SimulationResult) -> None:
    """Say so where pixels did not fit the input's format: the network then sees other images."""
    first = next(layer for layer in result.layers if layer.name == network.input.name)
    if first.saturated:
        warn(
            f"{first.saturated:,} values of {first.name} do not fit its "
            f"{network.input.output.bits} bits: export the network again"
        )


def _check_cluster_options(others: Sequence[str]) -> None:
    """Refuse what a cluster cannot do, before anything is read or written."""
    if others:
        raise InputError(f"{others[0]} cannot be used with --cluster")
    if find_spec("distributed") is None:
        raise InputError(
            "--cluster needs Dask's distributed: install it with pip install 'asq-hw[cluster]'"
        )


def _on_cluster(cluster: str) -> partial[SimulationResult]:
    from asq_hw.sim.cluster import simulate

    return partial(simulate, cluster=cluster)


def _pass_on(readers: Sequence[Callable[[TraceBatch], None]], batch: TraceBatch) -> None:
    for reader in readers:
        reader(batch)


def _report(
    network: IntegerNetwork,
    dataset: str,
    product: Product,
    accuracy: Accuracy,
    result: SimulationResult,
) -> Report:
    images = result.images
    document: dict[str, Any] = {
        "model": network.name,
        "dataset": dataset,
        "images": images,
        "product": str(product.kind),
        "lut_fraction_bits": product.lut_fraction_bits,
        **asdict(accuracy),
        "images_per_second": images / result.seconds,
        "outputs": [_output(output, result) for output in network.outputs],
        "layers": [_layer(layer) for layer in result.layers],
    }
    headline = [
        f"{network.name} on {images:,} images of {dataset}, {product.kind}",
        _accuracies(accuracy) if result.has_scores else _extents(document["outputs"]),
        f"{document['images_per_second']:,.0f} images/s",
    ]
    rows = [_row(layer) for layer in result.layers]
    return Report(headline=headline, table=Table(columns=COLUMNS, rows=rows), document=document)


def _accuracies(accuracy: Accuracy) -> str:
    """What is known of the accuracy, in one line."""
    known = (
        ("top-1", accuracy.top1),
        ("trained network", accuracy.reference_top1),
        ("same prediction", accuracy.agreement),
    )
    parts = [f"{what} {share:.2%}" for what, share in known if share is not None]
    return ", ".join(parts) or "no labels and no reference predictions"


def _output(output: Output, result: SimulationResult) -> dict[str, Any]:
    """An output for JSON: what it is, and the integers that it reached."""
    found = result.outputs[output.name]
    return {
        "name": output.name,
        "layer": output.layer,
        "scores": output.is_scores,
        "shape": list(found.integers.shape[1:]),
        "step": found.step,
        "smallest": int(found.integers.min()),
        "largest": int(found.integers.max()),
    }


def _extents(outputs: Sequence[Mapping[str, Any]]) -> str:
    """What stands in the place of the accuracy where no output is class scores."""
    parts = [
        f"{one['name']} {' x '.join(map(str, one['shape']))}, "
        f"{one['smallest'] * one['step']:.4g} to {one['largest'] * one['step']:.4g}"
        for one in outputs
    ]
    return f"no class scores; {'; '.join(parts)}"


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
