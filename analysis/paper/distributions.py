"""What quantization does to weights and activations: measured on checkpoints, and drawn.

``python -m analysis.paper.distributions measure KIND CHECKPOINT ... --output CSV`` measures, and
``python -m analysis.paper.distributions draw KIND CSV --output FIGURE`` draws; docs/ablation.md has
the commands behind its figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.paper import distribution_figures as figures
from analysis.paper import distribution_measures as measures
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.guard import guarded

if TYPE_CHECKING:
    import pandas as pd


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.distributions", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure", help="measure checkpoints, write a CSV")
    measure.add_argument("kind", choices=sorted(figures.DRAW))
    measure.add_argument("checkpoints", type=Path, nargs="+", help="blocks: full precision first")
    measure.add_argument("--output", type=Path, required=True, help="the CSV")
    measure.add_argument("--layer", default="layer2.1.conv1", help="of weights and activations")
    measure.add_argument(
        "--images", type=int, default=measures.IMAGES, help="test images, from the first"
    )
    draw = commands.add_parser("draw", help="draw a CSV")
    draw.add_argument("kind", choices=sorted(figures.DRAW))
    draw.add_argument("csv", type=Path)
    draw.add_argument("--output", type=Path, required=True, help=".png, .svg or .pdf")
    table = commands.add_parser("table", help="print what beta is worth as Markdown")
    table.add_argument("csv", type=Path, help="of measure beta")
    return parser


def _measure(kind: str, paths: Sequence[Path], *, layer: str, images: int) -> pd.DataFrame:
    match kind:
        case "weights":
            return measures.measure_weights(paths, layer=layer)
        case "activations":
            return measures.measure_activations(paths, layer=layer, images=images)
        case "blocks":
            return measures.measure_blocks(paths[0], paths[1:], images=images)
        case "layers":
            return measures.measure_layers(paths, images=images)
    return measures.measure_beta(paths, images=images)


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        match given.command:
            case "measure":
                kind, paths, layer = given.kind, given.checkpoints, given.layer
                check_outputs({"--output": given.output}, {f"checkpoint {p}": p for p in paths})
                frame = _measure(kind, paths, layer=layer, images=given.images)
                measures.write_frame(frame, given.output)
            case "draw":
                check_outputs({"--output": given.output}, {"csv": given.csv})
                figures.DRAW[given.kind](figures.read_frame(given.csv), given.output)
            case "table":
                print(figures.beta_table(figures.read_frame(given.csv)), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.distributions", lambda: main(sys.argv[1:])))
