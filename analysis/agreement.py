"""How well each method's integer network agrees with its trained one.

``python -m analysis.agreement --runs DIR`` trains a row of the ablation for every method that
has an integer form, exports it, simulates it on all test images, and prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.ablation import train_row
from analysis.ablation_results import Variant
from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.sim import simulate

__all__ = ["Agreement", "agreement_table", "exportable_variants", "measure"]

_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What the same weights predict in PyTorch and in integers.

    Parameters
    ----------
    variant : Variant
        The methods.
    images : int
        Test images.
    trained, integer : int
        How many of them each gets right.
    agreeing : int
        How many of them both put into the same class.
    """

    variant: Variant
    images: int
    trained: int
    integer: int
    agreeing: int


def exportable_variants() -> list[Variant]:
    """Return every exportable method, with LSQ on the other side, and the paper's scheme 2."""
    from asq_hw.train.methods.catalog import method_table

    weights = [info.name for info in method_table() if info.exports_weights]
    activations = [info.name for info in method_table() if info.exports_activations]
    pairs = [(name, "lsq") for name in weights]
    pairs += [("lsq", name) for name in activations if name != "lsq"]
    pairs.append(("post", "asq"))
    return [Variant(label=f"{w} + {a}", weights=w, activations=a) for w, a in pairs]


def measure(variant: Variant, *, runs: Path, overrides: Iterable[str] = ()) -> Agreement:
    """Train, export and simulate one row; a finished run in `runs` is taken as it is."""
    from asq_hw.train import checkpoint
    from asq_hw.train.export import DEFAULT_CALIBRATION_IMAGES, export_network

    _, last = train_row(variant, _SEED, runs=runs, overrides=overrides)
    model, recipe = checkpoint.load_model(last.last)
    test = datasets.load(recipe.dataset)
    calibration = datasets.load(recipe.dataset, split="train", limit=DEFAULT_CALIBRATION_IMAGES)
    network = export_network(model, recipe, calibration, [test])
    trained = network.references[test.name]
    integer = simulate(network, test.images, threads=1).predictions
    assert test.labels is not None, "networks are trained on labelled images"
    return Agreement(
        variant=variant,
        images=len(test),
        trained=int((trained == test.labels).sum()),
        integer=int((integer == test.labels).sum()),
        agreeing=int((trained == integer).sum()),
    )


def agreement_table(found: Iterable[Agreement]) -> Iterator[str]:
    """Yield the table's lines, each as soon as its row is measured."""
    yield "| weights | activations | PyTorch | integers | same class |"
    yield "|---|---|--:|--:|--:|"
    for row in found:
        shares = (row.trained, row.integer, row.agreeing)
        cells = " | ".join(f"{100 * share / row.images:.2f} %" for share in shares)
        yield f"| {row.variant.weights} | {row.variant.activations} | {cells} |"


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m analysis.agreement", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    rows = (
        measure(variant, runs=given.runs, overrides=given.overrides)
        for variant in exportable_variants()
    )
    try:
        for line in agreement_table(rows):
            print(line, flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
