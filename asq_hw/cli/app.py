"""The program: its commands, in the order of its help."""

from __future__ import annotations

from typing import Annotated

import typer

from asq_hw import __version__
from asq_hw.cli.check import check
from asq_hw.cli.checkpoints import evaluate, export
from asq_hw.cli.convert import convert
from asq_hw.cli.doctor import doctor
from asq_hw.cli.imports import import_network
from asq_hw.cli.levels import levels
from asq_hw.cli.options import examples
from asq_hw.cli.overhead import overhead
from asq_hw.cli.quantize import quantize
from asq_hw.cli.simulate import simulate
from asq_hw.cli.training import TrainCommand, train
from asq_hw.cli.units import VERBS, unit_examples, unit_group

__all__ = ["EXAMPLES", "app", "worked_examples"]

_RUN = "runs/digits-asq-post-w4a4"

EXAMPLES = {
    "simulate": ("asq-hw simulate", "asq-hw simulate --limit 100 --format json"),
    "overhead": ("asq-hw overhead resnet18 --bits 2,3,4,8",),
    "levels": ("asq-hw levels post --bits 4",),
    "check": ("asq-hw check mynet.py:build --data digits",),
    "train": (
        "asq-hw train --recipe digits-float",
        "asq-hw train --recipe digits-asq-post-w4a4 --init runs/digits-float/last.pt",
    ),
    "eval": (f"asq-hw eval {_RUN}/last.pt",),
    "export": (
        f"asq-hw export {_RUN}/last.pt -o digits.asq",
        "asq-hw simulate digits.asq --data digits",
    ),
    "quantize": (
        "asq-hw train mynet.py:build --data digits --set weights=none --set activations=none",
        "asq-hw quantize mynet.py:build --weights runs/mynet-build-float/last.pt --data digits "
        "-o mynet.asq",
    ),
    "import": ("asq-hw import brevitas.onnx -o brevitas.asq --data digits",),
    "convert": (
        "asq-hw convert -o bundled.onnx --to onnx",
        "asq-hw convert digits.asq -o digits.onnx --to qonnx",
    ),
    "doctor": ("asq-hw doctor",),
}
"""Worked examples by command; each runs as it stands, after those before it, where `mynet.py` has a
function `build` that makes a network of digits, and `brevitas.onnx` is one of Brevitas'. Units have
their own
(`asq_hw.cli.units.unit_examples`)."""

app = typer.Typer(
    name="asq-hw",
    help="Train, export, simulate and price networks with ASQ activations and POST weights.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", metavar="", help="Print the version.")
    ] = False,
) -> None:
    """Train, export, simulate and price networks with ASQ activations and POST weights."""
    if version:
        print(f"asq-hw {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


for name, command in (
    ("simulate", simulate),
    ("overhead", overhead),
    ("levels", levels),
    ("check", check),
    ("train", train),
    ("eval", evaluate),
    ("export", export),
    ("quantize", quantize),
    ("import", import_network),
    ("convert", convert),
):
    kind = TrainCommand if command is train else None
    app.command(name, cls=kind, epilog=examples(EXAMPLES[name]))(command)

for name in VERBS:
    app.add_typer(unit_group(name), name=name)

app.command("doctor", epilog=examples(EXAMPLES["doctor"]))(doctor)


def worked_examples() -> dict[str, tuple[str, ...]]:
    """Worked examples of every command, in the order of the program's help."""
    *first, last = EXAMPLES
    every = {name: EXAMPLES[name] for name in first}
    return {**every, **{verb: unit_examples(verb) for verb in VERBS}, last: EXAMPLES[last]}
