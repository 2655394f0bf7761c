"""``asq-hw quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.options import FormatOption, OverridesOption, WorkersOption, choose, integer
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.cli.own import (
    BitsOption,
    InputBitsOption,
    MeanOption,
    NetworkArgument,
    OwnDataOption,
    StdOption,
    StepOption,
    UnsignedOption,
    check_weights,
    chosen_recipe,
    input_format,
    told_options,
)
from asq_hw.cli.requirements import require_torch
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs

if TYPE_CHECKING:
    from asq_hw.network.graph import IntegerNetwork

__all__ = ["quantize"]

COLUMNS = (
    Column(key="model", heading="model"),
    Column(key="layers", heading="layers", form="d"),
    Column(key="bytes", heading="bytes", form=",d"),
    Column(key="images", heading="images", form=",d"),
    Column(key="float_top1", heading="float top-1", form=".2%"),
    Column(key="top1", heading="quantized top-1", form=".2%"),
)


def quantize(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model file to write.")
    ],
    network: NetworkArgument = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="The trained network: its state dict, or a checkpoint of train; an ONNX file has "
            "its weights in it.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="Methods and widths, and the network and data where these are not named.",
        ),
    ] = None,
    data: OwnDataOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bits: BitsOption = None,
    overrides: OverridesOption = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="mse|minmax",
            help="Whether scales have the least squared error, or clip nothing.",
        ),
    ] = "mse",
    equalize: Annotated[
        bool,
        typer.Option(
            "--equalize",
            help="Bring channels between two layers to one range first (cross-layer equalization).",
        ),
    ] = False,
    rounding: Annotated[
        str,
        typer.Option(
            "--rounding",
            metavar="nearest|adaptive",
            help="Whether each weight becomes the nearest level, or all of a layer's those with "
            "which its outputs change least; that takes longer, and pays at less than 8 bits.",
        ),
    ] = "nearest",
    correction: Annotated[
        str,
        typer.Option(
            "--correction",
            metavar="batch-norm|bias|none",
            help="What each layer's outputs are given back: means, and deviations where there is "
            "batch norm; or means alone (bias correction).",
        ),
    ] = "batch-norm",
    calibration_images: Annotated[
        int,
        typer.Option(
            "--calibration-images",
            parser=integer,
            metavar="N",
            help="Choose all this, and number formats, from N training images, drawn evenly.",
        ),
    ] = 128,
    input_bits: InputBitsOption = None,
    unsigned: UnsignedOption = False,
    step: StepOption = None,
    scores: Annotated[
        str | None,
        typer.Option(
            "--scores",
            metavar="NAME",
            help="Of an array: which of several outputs is class scores.",
        ),
    ] = None,
    workers: WorkersOption = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Turn a trained network into an integer network without training (post-training quantization).

    Without a recipe, weights and activations are uniform, of 8 bits. A network that returns maps or
    several tensors has them as outputs, and no accuracy. Where --data is an array, FILE.npy, of
    values (N, C, H, W) or (N, C) as the network takes them, it takes other integers than pixels.
    """
    require_torch("quantize")
    check_outputs({"--output": output}, {"--weights": weights, "--recipe": recipe, "--data": data})
    if calibration_images < 1:
        raise InputError(f"calibration-images must be at least 1, not {calibration_images}")
    chosen = chosen_recipe(network, recipe, overrides, data=data, mean=mean, std=std, bits=bits)
    check_weights(chosen.model, weights)
    from asq_hw import modelfile
    from asq_hw.datasets.samples import is_array_file
    from asq_hw.interface.calibrate import CalibrationMethod
    from asq_hw.train.distributed import default_workers
    from asq_hw.train.models.own import file_of
    from asq_hw.train.post_training import quantize_array, quantize_trained
    from asq_hw.train.refinement.options import Correction, PostTrainingSettings, Rounding

    check_outputs(
        {"--output": output}, {"dataset": chosen.dataset, "network": file_of(chosen.model)}
    )
    how = PostTrainingSettings(
        scales=choose(CalibrationMethod, "method", method).step_start,
        equalize=equalize,
        rounding=choose(Rounding, "rounding", rounding),
        correction=choose(Correction, "correction", correction),
    )
    is_array = is_array_file(chosen.dataset)
    told = told_options(input_bits=input_bits, unsigned=unsigned or None, step=step, scores=scores)
    if told and not is_array:
        raise InputError(f"{told[0]} goes with an array, --data FILE.npy")
    if is_array:
        taken = input_format(input_bits, unsigned=unsigned, step=step)
        network_made, count = quantize_array(
            chosen, weights, taken, how=how, limit=calibration_images, scores=scores
        )
        modelfile.save(network_made, output)
        show(_report(output, network_made, chosen.dataset, count, None, None), form)
        return
    made = quantize_trained(
        chosen,
        weights,
        how=how,
        calibration_images=calibration_images,
        workers=default_workers() if workers is None else workers,
    )
    modelfile.save(made.network, output)
    test = made.test
    show(_report(output, made.network, test.name, len(test), made.float_top1, made.top1), form)


def _report(
    output: Path,
    network: IntegerNetwork,
    dataset: str,
    images: int,
    float_top1: float | None,
    top1: float | None,
) -> Report:
    row = {
        "model": str(output),
        "name": network.name,
        "layers": len(network.layers),
        "bytes": output.stat().st_size,
        "dataset": dataset,
        "images": images,
        "float_top1": float_top1,
        "top1": top1,
    }
    return Report(table=Table(columns=COLUMNS, rows=[row]), document=row)
