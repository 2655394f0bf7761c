"""Does beta follow the step that an image needs, and what would it save: measured, and drawn.

``python -m analysis.paper.adapting measure CHECKPOINT --output CSV`` measures, and
``python -m analysis.paper.adapting draw CSV --output FIGURE`` draws and prints the decibels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.paper.adapting_measures import decibels, measure_adapting
from analysis.paper.distribution_figures import read_frame
from analysis.paper.distribution_measures import IMAGES, write_frame
from analysis.paper.figures import figure_file
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.guard import guarded
from asq_hw.train.data.changes import ImageChange

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["adapting_table", "draw_adapting", "main"]

LAYERS = ("layer1.0.conv1", "layer2.1.conv1", "layer3.2.conv2")
"""Of ResNet-20: early, in the middle, late."""
_COLORS = {"plain": "#0072B2", "changed": "#D55E00"}
_SAVED = ("oracle", "predictor", "adapter")
_COLUMNS = ("layer", "images", "best", "beta", "constant", *_SAVED)


def adapting_table(frame: pd.DataFrame) -> str:
    """What a step for each image saves over one for all, as Markdown."""
    lines = [
        "| layer | images | oracle | predictor | adapter | deviation of best, octaves | of beta |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for (layer, images), own in frame.groupby(["layer", "images"], sort=False):
        saved = " | ".join(f"{decibels(own, what):.2f} dB" for what in _SAVED)
        spread = " | ".join(f"{own[what].std():.3f}" for what in ("best", "beta"))
        lines.append(f"| {layer} | {images} | {saved} | {spread} |")
    return "\n".join([*lines, ""])


def draw_adapting(frame: pd.DataFrame, path: str | Path) -> None:
    """Draw the best step of each image against beta, a panel for each layer."""
    layers = list(dict.fromkeys(frame["layer"]))
    with figure_file(path, width=7.2, height=3.0) as figure:
        panels = figure.subplots(1, len(layers), sharex=True, sharey=True, squeeze=False)[0]
        for axes, layer in zip(panels, layers, strict=True):
            for images, color in _COLORS.items():
                own = frame[(frame["layer"] == layer) & (frame["images"] == images)]
                axes.plot(own["best"], own["beta"], ".", color=color, markersize=3, label=images)
            axes.axline((0, 0), slope=1, color="#C8C8C8", linewidth=0.8, zorder=0)
            axes.set_title(layer)
            axes.set_xlabel("best step (octaves)")
        panels[0].set_ylabel("\N{GREEK SMALL LETTER BETA} (octaves)")
        panels[0].legend()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.paper.adapting", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure", help="measure a checkpoint, write a CSV")
    measure.add_argument("checkpoint", type=Path)
    measure.add_argument("--output", type=Path, required=True, help="the CSV")
    measure.add_argument("--layers", nargs="+", default=list(LAYERS), metavar="LAYER")
    measure.add_argument("--data", metavar="NAME|DIR", help="default: what it was trained on")
    measure.add_argument("--images", type=int, default=IMAGES, help="test images, drawn evenly")
    measure.add_argument("--brightness", type=float, default=1.0, help="of the changed images")
    measure.add_argument("--contrast", type=float, default=0.5, help="of the changed images")
    draw = commands.add_parser("draw", help="draw a CSV, and print its table")
    draw.add_argument("csv", type=Path)
    draw.add_argument("--output", type=Path, required=True, help=".png, .svg or .pdf")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "measure":
            inputs = {"checkpoint": given.checkpoint}
            check_outputs({"--output": given.output}, inputs)
            if given.images < 4:
                raise InputError(f"images must be at least 4, not {given.images}")
            frame = measure_adapting(
                given.checkpoint,
                layers=given.layers,
                change=ImageChange(brightness=given.brightness, contrast=given.contrast),
                images=given.images,
                data=given.data,
            )
            write_frame(frame, given.output)
        else:
            check_outputs({"--output": given.output}, {"csv": given.csv})
            frame = read_frame(given.csv, _COLUMNS)
            draw_adapting(frame, given.output)
            print(adapting_table(frame), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.adapting", lambda: main(sys.argv[1:])))
