"""``asq-hw train``, ``eval`` and ``export``: the commands that need torch."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from asq_hw.cli.options import (
    FormatOption,
    LimitOption,
    ThreadsOption,
    integer,
    numbers,
    real,
)
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show, warn
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.train.options import CALIBRATION_IMAGES, Device

if TYPE_CHECKING:
    from asq_hw.train.checkpoints.checkpoint import Checkpoint
    from asq_hw.train.recipes import Recipe
    from asq_hw.train.run.progress import Progress

__all__ = ["TrainCommand", "evaluate", "export", "train"]

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", help="A .pt file that train wrote, or a state dict with --recipe."
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
OverridesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe; repeatable."),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="M,M,M",
        help="Of a state dict: the mean of pixel / 255 that its images were normalized with; "
        "default: the data set's.",
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option(
        "--std",
        metavar="S,S,S",
        help="Of a state dict: their deviation; default: the data set's.",
    ),
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


class TrainCommand(TyperCommand):
    """The command train, whose help lists what can be trained."""

    def get_help(self, ctx: Any) -> str:  # the class of ctx is private to Typer
        """Look the choices up only now: no other command needs them."""
        from asq_hw.datasets import NAMES
        from asq_hw.network.topologies import TOPOLOGIES
        from asq_hw.train import recipes
        from asq_hw.train.methods.catalog import ACTIVATION_NAMES, WEIGHT_NAMES

        self.epilog = "\n\n".join(
            [
                self.epilog or "",
                f"Recipes: {', '.join(recipes.names())}.",
                f"Networks: {', '.join(sorted(TOPOLOGIES))}.",
                f"Data sets: {', '.join(NAMES)}, or the folder or archive of one.",
                f"Weight quantizers: {', '.join(WEIGHT_NAMES)}.",
                f"Activation quantizers: {', '.join(ACTIVATION_NAMES)}.",
            ]
        )
        return super().get_help(ctx)


def train(
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", metavar="NAME|FILE", help="A shipped recipe, or a TOML file like one."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder; default: runs/RECIPE."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="CHECKPOINT",
            help="Full-precision network to start from, or its state dict.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", metavar="", help="Go on with the run that is in the folder.")
    ] = False,
    overrides: OverridesOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="|".join(Device), help="Where to train; auto takes a GPU."
        ),
    ] = Device.AUTO,
    log_dir: Annotated[
        Path | None,
        typer.Option("--log-dir", metavar="DIR", help="Write TensorBoard's files there."),
    ] = None,
    no_export: Annotated[
        bool,
        typer.Option("--no-export", metavar="", help="Train also what could not be exported."),
    ] = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Train a network as a recipe says; it can be stopped at any moment and resumed.

    Started by torchrun, several processes train it together.
    """
    _require_torch("train")
    from asq_hw.train import recipes

    chosen = recipes.load(recipe, overrides or ())
    folder = output or Path("runs") / chosen.name
    from asq_hw.train.distributed import default_workers, is_main_process
    from asq_hw.train.run.folder import FILES
    from asq_hw.train.run.training import train as run

    # A recipe may lie in the folder of its run: only a file of that name would be lost.
    written = {f"{name} of --output": folder / name for name in FILES}
    events = None if log_dir is None else log_dir / "events"
    check_outputs(written | {"TensorBoard's file of --log-dir": events}, {"--recipe": recipe})
    if is_main_process():
        _warn_of_methods(chosen)
    progress = _training_progress(chosen.epochs) if is_main_process() else nullcontext()
    with progress as report:
        result = run(
            chosen,
            output=folder,
            init=init,
            resume=resume,
            threads=threads,
            workers=default_workers() if workers is None else workers,
            device=device,
            compiled=True,
            log_dir=log_dir,
            report=report,
            must_export=not no_export,
        )
    if not is_main_process():
        return
    row = {
        "recipe": chosen.name,
        "epochs": chosen.epochs,
        "top1": result.accuracy,
        "best_top1": result.best_accuracy,
        "seconds": result.seconds,
        "checkpoint": str(result.last),
        "best_checkpoint": str(result.best),
    }
    columns = (
        Column(key="recipe", heading="recipe"),
        Column(key="epochs", heading="epochs", form="d"),
        Column(key="top1", heading="top-1", form=".2%"),
        Column(key="best_top1", heading="best epoch", form=".2%"),
        Column(key="seconds", heading="seconds", form=".1f"),
        Column(key="checkpoint", heading="checkpoint"),
    )
    show(Report(table=Table(columns=columns, rows=[row]), document=row), form)


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
    """Measure a trained network in floating point, on test images."""
    _require_torch("eval")
    from asq_hw.train.checkpoints.digest import weights_digest
    from asq_hw.train.data.changes import ImageChange
    from asq_hw.train.data.trained_images import images_of, open_as_trained
    from asq_hw.train.distributed import default_workers
    from asq_hw.train.measurement import measure

    change = ImageChange(brightness=brightness, contrast=contrast)
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    trained = _open(checkpoint, recipe_name, overrides, mean=mean, std=std)
    model, recipe = trained.build_model(), trained.recipe
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
    calibration_images: Annotated[
        int,
        typer.Option(
            "--calibration-images",
            parser=integer,
            metavar="N",
            help="Choose the number formats from N training images, drawn evenly.",
        ),
    ] = CALIBRATION_IMAGES,
    recipe_name: RecipeOption = None,
    overrides: OverridesOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Turn a trained network into an integer network, and write its model file."""
    _require_torch("export")
    sources = {f"reference {name}": name for name in references or ()}
    read = {"checkpoint": checkpoint, "--recipe": recipe_name, **sources}
    check_outputs({"--output": output}, read)
    from asq_hw import modelfile
    from asq_hw.datasets import ImageFolder
    from asq_hw.train.data.trained_images import images_of, open_as_trained
    from asq_hw.train.export.network import export_network

    if calibration_images < 1:
        raise InputError(f"calibration-images must be at least 1, not {calibration_images}")
    trained = _open(checkpoint, recipe_name, overrides, mean=mean, std=std)
    check_outputs({"--output": output}, {"dataset": trained.recipe.dataset})
    model, recipe, images = trained.build_model(), trained.recipe, images_of(trained)
    calibration = open_as_trained(recipe.dataset, images, split="train").sample(calibration_images)
    network = export_network(
        model,
        recipe,
        calibration.load() if isinstance(calibration, ImageFolder) else calibration,
        [open_as_trained(name, images) for name in references or [recipe.dataset]],
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
    mean: str | None,
    std: str | None,
) -> Checkpoint:
    """Read a checkpoint, or a state dict of the network that the options name."""
    from asq_hw.train import recipes
    from asq_hw.train.opening import open_network

    if recipe is None and overrides:
        raise InputError(f"--set replaces a value of --recipe, which is not given: {overrides[0]}")
    return open_network(
        path,
        None if recipe is None else recipes.load(recipe, overrides or ()),
        mean=None if mean is None else numbers("--mean", mean),
        std=None if std is None else numbers("--std", std),
    )


def _warn_of_methods(recipe: Recipe) -> None:
    """Say what the trained network will not be good for."""
    from asq_hw.train.export.rehearsal import methods_without_integers

    missing = methods_without_integers(recipe)
    if missing:
        warn(f"{' and '.join(missing)} have no integer form: the network cannot be exported")


def _require_torch(command: str) -> None:
    """Say what to install before an import fails."""
    if find_spec("torch") is None:
        raise InputError(f"{command} needs PyTorch: pip install 'asq-hw[train]'")


@contextmanager
def _training_progress(epochs: int) -> Iterator[Callable[[Progress], None]]:
    """A line on standard error for each epoch, and on a terminal a bar that moves with batches."""
    with progress_bar("epochs", epochs) as advance:

        def report(progress: Progress) -> None:
            if advance is not None:
                advance(progress.epoch - 1 + progress.batch / progress.batches)
            if progress.accuracy is not None:
                print(
                    f"epoch {progress.epoch}/{progress.epochs}: loss {progress.loss:.4f}, "
                    f"top-1 {progress.accuracy:.2%}",
                    file=sys.stderr,
                    flush=True,
                )

        yield report
