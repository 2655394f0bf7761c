"""``asq-hw eval`` and ``export``: what is done with a checkpoint, or with a state dict."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.options import (
    FormatOption,
    LimitOption,
    OverridesOption,
    WorkersOption,
    integer,
    numbers,
    real,
)
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show, warn_of_lost_channels
from asq_hw.cli.own import (
    BitsOption,
    MeanOption,
    OwnDataOption,
    StdOption,
    WeightsOption,
    chosen_recipe,
)
from asq_hw.cli.requirements import require_torch
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.train.options import CALIBRATION_IMAGES

if TYPE_CHECKING:
    from asq_hw.train.checkpoints.checkpoint import Checkpoint

__all__ = ["evaluate", "export"]

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A .pt file that train wrote, or a state dict with --recipe; or FILE.py:BUILDER or "
        "NET.onnx, a network of your own, with --weights.",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="Of a state dict: the recipe that names its network and its data set.",
    ),
]


def evaluate(
    checkpoint: CheckpointArgument,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|DIR",
            help="Data set by name, or its folder or archive; default: what it was trained on.",
        ),
    ] = None,
    limit: LimitOption = None,
    recipe_name: RecipeOption = None,
    overrides: OverridesOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    workers: WorkersOption = None,
    hold_beta: Annotated[
        bool,
        typer.Option(
            "--hold-beta", metavar="", help="Give every image each adapter's mean over all of them."
        ),
    ] = False,
    brightness: Annotated[
        float,
        typer.Option("--brightness", parser=real, metavar="F", help="Multiply every pixel by F."),
    ] = 1.0,
    contrast: Annotated[
        float,
        typer.Option(
            "--contrast",
            parser=real,
            metavar="F",
            help="Multiply every pixel's distance from its image's mean by F.",
        ),
    ] = 1.0,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Measure a trained network on test images: in floating point, or as it was trained."""
    require_torch("eval")
    from asq_hw.train.checkpoints.digest import weights_digest
    from asq_hw.train.data.changes import ImageChange
    from asq_hw.train.data.trained_images import images_of, open_as_trained
    from asq_hw.train.distributed import default_workers
    from asq_hw.train.lost_channels import lost_channels
    from asq_hw.train.measurement import measure

    change = ImageChange(brightness=brightness, contrast=contrast)
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    trained = _open(
        checkpoint,
        recipe_name,
        overrides,
        weights=weights,
        data=data,
        mean=mean,
        std=std,
        bits=bits,
    )
    model, recipe = trained.build_model(), trained.recipe
    lost = lost_channels(model)
    warn_of_lost_channels(lost)
    dataset = open_as_trained(data or recipe.dataset, images_of(trained)).sample(limit)
    workers = default_workers() if workers is None else workers
    found = measure(model, dataset, workers=workers, change=change, hold_beta=hold_beta)
    variations = [beta["variation"] for beta in found.beta.values()]
    row = {
        "checkpoint": str(checkpoint),
        "recipe": recipe.name,
        "dataset": dataset.name,
        "images": len(dataset),
        "top1": found.top1,
        "beta_variation": statistics.median(variations) if variations else None,
    }
    columns = (
        Column(key="recipe", heading="recipe"),
        Column(key="dataset", heading="data set"),
        Column(key="images", heading="images", form=",d"),
        Column(key="top1", heading="top-1", form=".2%"),
        Column(key="beta_variation", heading="variation of beta", form=".2%"),
    )
    document = {
        **row,
        "beta": found.beta,
        "lost_channels": lost,
        "digest": weights_digest(trained.weights),
        "start": trained.start,
    }
    show(Report(table=Table(columns=columns, rows=[row]), document=document), form)


def export(
    checkpoint: CheckpointArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="The model file to write.")
    ],
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="NAME|DIR",
            help="Data set whose predictions the file keeps, for comparison; repeatable; "
            "default: what it was trained on.",
        ),
    ] = None,
    data: OwnDataOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Of the network, in the file; default: the recipe's."
        ),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(
            "--calibration-images",
            parser=integer,
            metavar="N",
            help="Choose the number formats from N training images, drawn evenly; "
            f"default: {CALIBRATION_IMAGES}.",
        ),
    ] = None,
    recipe_name: RecipeOption = None,
    overrides: OverridesOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Turn a trained network into an integer network, and write its model file."""
    require_torch("export")
    read = {"checkpoint": checkpoint, "--recipe": recipe_name, "--weights": weights, "--data": data}
    check_outputs({"--output": output}, read)
    for reference in references or ():
        check_outputs({"--output": output}, {"--reference": reference})
    from asq_hw import modelfile
    from asq_hw.train.data.trained_images import images_of, open_as_trained
    from asq_hw.train.export.network import export_network
    from asq_hw.train.lost_channels import lost_channels
    from asq_hw.train.models.own import file_of

    if calibration_images is not None and calibration_images < 1:
        raise InputError(f"calibration-images must be at least 1, not {calibration_images}")
    trained = _open(
        checkpoint,
        recipe_name,
        overrides,
        weights=weights,
        data=data,
        mean=mean,
        std=std,
        bits=bits,
        data_is_own=True,
    )
    read = {"dataset": trained.recipe.dataset, "network": file_of(trained.recipe.model)}
    check_outputs({"--output": output}, read)
    model, recipe, images = trained.build_model(), trained.recipe, images_of(trained)
    warn_of_lost_channels(lost_channels(model))
    recipe = recipe if name is None else replace(recipe, name=name)
    if trained.ranges is not None and calibration_images is not None:
        raise InputError(
            f"calibration-images must be left out for {checkpoint}, which has trained in integers: "
            "their formats are chosen"
        )
    calibration = open_as_trained(recipe.dataset, images, split="train").sample(
        calibration_images or CALIBRATION_IMAGES
    )
    network = export_network(
        model,
        recipe,
        calibration.load(),
        [open_as_trained(each, images) for each in references or [recipe.dataset]],
        images=images,
    )
    modelfile.save(network, output)
    row = {
        "model": str(output),
        "name": network.name,
        "layers": len(network.layers),
        "bytes": output.stat().st_size,
    }
    columns = (
        Column(key="model", heading="model"),
        Column(key="layers", heading="layers", form="d"),
        Column(key="bytes", heading="bytes", form=",d"),
    )
    document = {**row, "references": {n: len(p) for n, p in network.references.items()}}
    show(Report(table=Table(columns=columns, rows=[row]), document=document), form)


def _open(
    path: Path,
    recipe: str | None,
    overrides: list[str] | None,
    *,
    weights: Path | None,
    data: str | None,
    mean: str | None,
    std: str | None,
    bits: int | None,
    data_is_own: bool = False,
) -> Checkpoint:
    """Read a checkpoint, or a state dict of the network that the options name.

    With `data_is_own`, `data` says nothing but what a network of one's own is for.
    """
    from asq_hw.interchange.floating import is_onnx
    from asq_hw.train import recipes
    from asq_hw.train.models.own import is_own
    from asq_hw.train.opening import open_network

    if is_onnx(path) or (is_own(str(path)) and not path.exists()):
        if weights is None:
            raise InputError(f"--weights must name the state dict of {path}, once it is trained")
        return open_network(
            weights,
            chosen_recipe(str(path), recipe, overrides, data=data, mean=mean, std=std, bits=bits),
        )
    own = {"--weights": weights, "--bits": bits} | ({"--data": data} if data_is_own else {})
    if given := [option for option, value in own.items() if value is not None]:
        raise InputError(f"{given[0]} goes with a network of your own, FILE.py:BUILDER, not {path}")
    if recipe is None and overrides:
        raise InputError(f"--set replaces a value of --recipe, which is not given: {overrides[0]}")
    return open_network(
        path,
        None if recipe is None else recipes.load(recipe, overrides or ()),
        mean=None if mean is None else numbers("--mean", mean),
        std=None if std is None else numbers("--std", std),
    )
