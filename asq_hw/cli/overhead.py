"""``asq-hw overhead``."""

from __future__ import annotations

from typing import Annotated

import typer

from asq_hw.cli.options import (
    FormatOption,
    choose,
    integer,
    integers,
)
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.files.packaged import PACKAGED_MODELS
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.numbers.encoding import Encoding

__all__ = ["overhead"]

PERCENTAGES = (
    Column(key="param_percent", heading="parameters (%)", form=".2f"),
    Column(key="compute_percent", heading="compute (%)", form=".2f"),
)
LAYER = (
    Column(key="layer", heading="layer"),
    Column(key="in_channels", heading="in", form="d"),
    Column(key="out_channels", heading="out", form="d"),
)
COUNTS = {
    "paper": (
        Column(key="adapter_weights", heading="adapter weights", form=",d"),
        Column(key="network_weights", heading="network weights", form=",d"),
        Column(key="adapter_operations", heading="adapter operations", form=",d"),
        Column(key="network_multiplications", heading="multiplications", form=",d"),
    ),
    "stored": (
        Column(key="asq_storage_bits", heading="ASQ storage (bits)", form=",d"),
        Column(key="network_storage_bits", heading="network storage (bits)", form=",d"),
        Column(key="asq_operation_bits", heading="ASQ bit operations", form=",d"),
        Column(key="network_operation_bits", heading="network bit operations", form=",d"),
        Column(key="buffer_bits", heading="buffer (bits)", form=",d"),
    ),
}


def overhead(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK|MODEL",
            help=f"{', '.join([*TOPOLOGIES, *PACKAGED_MODELS])}, or a model file.",
        ),
    ],
    bits: Annotated[
        str | None,
        typer.Option(
            "--bits",
            metavar="B,B,...",
            help="Widths of the quantized layers; default: 2,3,4,8, or those of the model file.",
        ),
    ] = None,
    convention: Annotated[
        str,
        typer.Option(
            "--convention",
            metavar="paper|stored",
            help="What is counted: as the paper's Table 1, or all that a chip holds and does.",
        ),
    ] = "paper",
    grid: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            "--grid",
            metavar="|".join(Encoding),
            help="Which POST levels are kept, and so what a weight stores; default: packed.",
        ),
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option("--input", parser=integer, metavar="N", help="Image of N x N pixels."),
    ] = None,
    steps: Annotated[
        str,
        typer.Option(
            "--steps",
            metavar="paper|log-linear|shared-exponent|fixed",
            help="What gives the activation steps of a known network; the others are beyond the "
            "paper.",
        ),
    ] = "paper",
    adapter_ratio: Annotated[
        int,
        typer.Option(
            "--adapter-ratio",
            parser=integer,
            metavar="N",
            help="Channels for each hidden value of an adapter; the paper's have 4.",
        ),
    ] = 4,
    adapter_per: Annotated[
        str,
        typer.Option(
            "--adapter-per",
            metavar="layer|block",
            help="What has an adapter of its own; one for the layers of a block is beyond the "
            "paper.",
        ),
    ] = "layer",
    per_layer: Annotated[
        bool, typer.Option("--per-layer", metavar="", help="One row for each layer.")
    ] = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Count what the ASQ adapters add to a network (paper, Eq. 10-16 and Table 1)."""
    from analysis.cost import overhead as counting
    from analysis.cost.networks import find_network
    from analysis.cost.topologies import AdapterPer, Steps

    result = counting.overhead(
        find_network(
            PACKAGED_MODELS.get(network, network),
            input_size=input_size,
            steps=choose(Steps, "steps", steps),
            adapter_ratio=adapter_ratio,
            adapter_per=choose(AdapterPer, "adapter-per", adapter_per),
        ),
        bits=None if bits is None else integers("bits", bits),
        convention=choose(counting.Convention, "convention", convention),
        encoding=None if grid is None else choose(Encoding, "grid", grid),
    )
    columns = (Column(key="bits", heading="bits"), *(LAYER if per_layer else ()), *PERCENTAGES)
    show(
        Report(
            headline=[f"{result.network}, {result.convention} convention"],
            table=Table(
                columns=(*columns, *COUNTS[result.convention]),
                rows=result.records(per_layer=per_layer),
            ),
            document=result.as_dict(per_layer=per_layer),
        ),
        form,
    )
