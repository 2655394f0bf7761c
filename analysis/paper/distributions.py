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
from analysis.paper.measured import measured, open_measured, open_reference
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
    measure.add_argument("checkpoints", type=Path, nargs="+", help="trained networks")
    measure.add_argument(
        "--init",
        type=Path,
        metavar="CHECKPOINT",
        help="full-precision network that they started from, or its state dict; blocks need it",
    )
    measure.add_argument(
        "--data",
        metavar="NAME|DIR",
        help="of the images; default: what they were trained on",
    )
    measure.add_argument("--output", type=Path, required=True, help="the CSV")
    measure.add_argument("--layer", default="layer2.1.conv1", help="of weights and activations")
    measure.add_argument(
        "--images", type=int, default=measures.IMAGES, help="test images, drawn evenly"
    )
    draw = commands.add_parser("draw", help="draw a CSV")
    draw.add_argument("kind", choices=sorted(figures.DRAW))
    draw.add_argument("csv", type=Path)
    draw.add_argument("--output", type=Path, required=True, help=".png, .svg or .pdf")
    table = commands.add_parser("table", help="print what beta is worth as Markdown")
    table.add_argument("csv", type=Path, help="of measure beta")
    return parser


def _measure(given: argparse.Namespace) -> pd.DataFrame:
    from asq_hw.train.checkpoints import checkpoint

    init, data, images = given.init, given.data, given.images
    networks = open_measured(given.checkpoints, images=images, data=data, init=init)
    match given.kind:
        case "weights":
            return measures.measure_weights(networks, layer=given.layer)
        case "activations":
            return measures.measure_activations(networks, layer=given.layer)
        case "blocks":
            if init is None:
                raise InputError("measure blocks needs --init, the network that they started from")
            start = open_reference(init, checkpoint.load(given.checkpoints[0]))
            reference = measured(start, images=images, data=data or networks[0].recipe.dataset)
            return measures.measure_blocks(reference, networks)
        case "layers":
            return measures.measure_layers(networks)
    return measures.measure_beta(networks)


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        match given.command:
            case "measure":
                read = {f"checkpoint {path}": path for path in given.checkpoints}
                check_outputs({"--output": given.output}, read | {"--init": given.init})
                measures.write_frame(_measure(given), given.output)
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
