"""The program: its commands, in the order of its help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from asq_hw import __version__
from asq_hw.cli.adaptive import rtl_adapter, rtl_pooling, verify_adapter, verify_pooling
from asq_hw.cli.doctor import doctor
from asq_hw.cli.dot import rtl_dot, synth_dot, verify_dot
from asq_hw.cli.levels import levels
from asq_hw.cli.options import examples
from asq_hw.cli.overhead import overhead
from asq_hw.cli.rtl import rtl_mac, rtl_quantizer, rtl_requantizer
from asq_hw.cli.simulate import simulate
from asq_hw.cli.synth import synth_mac
from asq_hw.cli.training import TrainCommand, evaluate, export, train
from asq_hw.cli.verify import verify_mac, verify_quantizer, verify_requantizer

__all__ = ["EXAMPLES", "app"]

_RUN = "runs/digits-asq-post-w4a4"

EXAMPLES = {
    "simulate": ("asq-hw simulate", "asq-hw simulate --limit 100 --format json"),
    "overhead": ("asq-hw overhead resnet18 --bits 2,3,4,8",),
    "levels": ("asq-hw levels post --bits 4",),
    "train": (
        "asq-hw train --recipe digits-float",
        "asq-hw train --recipe digits-asq-post-w4a4 --init runs/digits-float/last.pt",
    ),
    "eval": (f"asq-hw eval {_RUN}/last.pt",),
    "export": (
        f"asq-hw export {_RUN}/last.pt -o digits.asq",
        "asq-hw simulate digits.asq --data digits",
    ),
    "rtl": (
        "asq-hw rtl mac --scheme post-split --bits 4 -o build/post-split",
        "asq-hw rtl dot --scheme post-split --bits 4 --lanes 8 -o build/dot",
        "asq-hw rtl quantizer --activation-bits 4 -o build/quantizer",
        "asq-hw rtl requantizer --pair --shift 18 -o build/requantizer",
        "asq-hw rtl pooling --elements 49 --multiplier 1337 -o build/pooling",
        "asq-hw rtl adapter -o build/adapter",
    ),
    "verify": (
        "asq-hw verify mac --scheme post-split --bits 4 --method formal",
        "asq-hw verify dot --scheme post-split --bits 4 --lanes 2 --method cosim --cycles 100000",
        "asq-hw verify quantizer --feature-bits 10 --method exhaustive",
        "asq-hw verify requantizer --value-bits 12 --shift 16 --bits 8 --method exhaustive",
        "asq-hw verify pooling --method formal",
        "asq-hw verify adapter --method cosim --cycles 20000",
    ),
    "synth": (
        "asq-hw synth mac --schemes uniform,post-split --bits 4 --target gates",
        "asq-hw synth dot --schemes uniform,post-split --bits 4 --lanes 8 --target gates",
    ),
    "doctor": ("asq-hw doctor",),
}
"""Worked examples by command; each runs as it stands, after those before it."""

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
    ("train", train),
    ("eval", evaluate),
    ("export", export),
):
    kind = TrainCommand if command is train else None
    app.command(name, cls=kind, epilog=examples(EXAMPLES[name]))(command)

GROUPS: tuple[tuple[str, str, dict[str, Callable[..., None]]], ...] = (
    (
        "rtl",
        "Write hardware: a folder with Verilog, test bench, vectors and constraints.",
        {
            "mac": rtl_mac,
            "dot": rtl_dot,
            "quantizer": rtl_quantizer,
            "requantizer": rtl_requantizer,
            "pooling": rtl_pooling,
            "adapter": rtl_adapter,
        },
    ),
    (
        "verify",
        "Show that the hardware computes what the simulator does, by simulation and by proof.",
        {
            "mac": verify_mac,
            "dot": verify_dot,
            "quantizer": verify_quantizer,
            "requantizer": verify_requantizer,
            "pooling": verify_pooling,
            "adapter": verify_adapter,
        },
    ),
    (
        "synth",
        "Synthesize, place and route: what hardware costs.",
        {"mac": synth_mac, "dot": synth_dot},
    ),
)
for name, purpose, commands in GROUPS:
    group = typer.Typer(help=purpose, no_args_is_help=True)
    for part, function in commands.items():
        shown = [example for example in EXAMPLES[name] if example.split()[2] == part]
        group.command(part, epilog=examples(shown))(function)
    app.add_typer(group, name=name, epilog=examples(EXAMPLES[name]))

app.command("doctor", epilog=examples(EXAMPLES["doctor"]))(doctor)
