"""``asq-hw train``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from asq_hw.cli.options import (
    FormatOption,
    OverridesOption,
    ThreadsOption,
    WorkersOption,
    integer,
)
from asq_hw.cli.output import (
    Column,
    OutputFormat,
    Report,
    Table,
    progress_bar,
    show,
    warn,
    warn_of_lost_channels,
)
from asq_hw.cli.own import (
    BitsOption,
    MeanOption,
    NetworkArgument,
    OwnDataOption,
    StdOption,
    chosen_recipe,
)
from asq_hw.cli.requirements import require_torch
from asq_hw.files.outputs import check_outputs
from asq_hw.train.options import Device

if TYPE_CHECKING:
    from asq_hw.train.recipes import Recipe
    from asq_hw.train.run.progress import Progress

__all__ = ["TrainCommand", "train"]


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
    network: NetworkArgument = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="A shipped recipe, or a TOML file like one; of a network of your own, what else "
            "than the default.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder; default: runs/RECIPE."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            "--weights",
            metavar="CHECKPOINT",
            help="Full-precision network to start from, or its state dict.",
        ),
    ] = None,
    data: OwnDataOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    bits: BitsOption = None,
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
    eval_every: Annotated[
        int,
        typer.Option(
            "--eval-every",
            parser=integer,
            metavar="N",
            help="Epochs from one measurement of the test accuracy to the next.",
        ),
    ] = 1,
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

    A network of your own is built by a function of a Python file, which takes nothing.

    Started by torchrun, several processes train it together.
    """
    require_torch("train")
    chosen = chosen_recipe(network, recipe, overrides, data=data, mean=mean, std=std, bits=bits)
    folder = output or Path("runs") / chosen.name
    from asq_hw.train.distributed import default_workers, is_main_process
    from asq_hw.train.models.own import file_of
    from asq_hw.train.run.folder import FILES
    from asq_hw.train.run.training import train as run

    # Recipe and network may lie in the folder of their run: only files of such names would be lost.
    written = {f"{name} of --output": folder / name for name in FILES}
    events = None if log_dir is None else log_dir / "events"
    read = {"--recipe": recipe, "network": file_of(chosen.model)}
    check_outputs(written | {"TensorBoard's file of --log-dir": events}, read)
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
            eval_every=eval_every,
            log_dir=log_dir,
            report=report,
            must_export=not no_export,
        )
    if not is_main_process():
        return
    warn_of_lost_channels(result.lost_channels)
    row = {
        "recipe": chosen.name,
        "epochs": chosen.epochs,
        "top1": result.accuracy,
        "best_top1": result.best_accuracy,
        "seconds": result.seconds,
        "lost_channels": result.lost_channels,
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


def _warn_of_methods(recipe: Recipe) -> None:
    """Say what the trained network will not be good for."""
    missing = recipe.without_integers
    if missing:
        warn(f"{' and '.join(missing)} have no integer form: the network cannot be exported")


@contextmanager
def _training_progress(epochs: int) -> Iterator[Callable[[Progress], None]]:
    """A line on standard error for each epoch, and on a terminal a bar that moves with batches."""
    with progress_bar("epochs", epochs) as advance:

        def report(progress: Progress) -> None:
            if advance is not None:
                advance(progress.epoch - 1 + progress.batch / progress.batches)
            if progress.ended:
                measured = "" if progress.accuracy is None else f", top-1 {progress.accuracy:.2%}"
                print(
                    f"epoch {progress.epoch}/{progress.epochs}: loss {progress.loss:.4f}{measured}",
                    file=sys.stderr,
                    flush=True,
                )

        yield report
