"""How well each method's integer network agrees with its trained one.

``python -m analysis.paper.agreement --init FLOAT.pt --runs DIR`` trains a network for a short
while with every method that has an integer form, exports it, simulates it on all test images, and
prints a table as Markdown. How many classes change without any integer, in double precision and
with every pixel moved by up to a tenth of a gray level, stands beside.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.paper.provenance import commit
from analysis.paper.row_training import Plan, Start, epochs_done, train_start
from analysis.paper.rows import Variant
from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.guard import guarded
from asq_hw.sim import simulate

__all__ = ["Agreement", "agreement_table", "chosen_variants", "exportable_variants", "measure"]

RECIPE = "agreement-quantized"

_SEED = 1
_NUDGE = 0.1
"""Gray levels."""
_CONTROL_IMAGES = 1000
"""Test images, from the first on, that are predicted in double precision too."""


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
    controls : int
        Test images on which PyTorch was compared with itself.
    double, nudged : int
        How many of those it puts into the same class in double precision, and in double
        precision with each pixel moved by up to a tenth of a gray level.
    """

    variant: Variant
    images: int
    trained: int
    integer: int
    agreeing: int
    controls: int
    double: int
    nudged: int


def exportable_variants() -> list[Variant]:
    """Every exportable method, with LSQ on the other side, and the paper's scheme 2."""
    from asq_hw.train.methods.catalog import ACTIVATION_METHODS, WEIGHT_METHODS, exportable

    weights = exportable(WEIGHT_METHODS)
    activations = exportable(ACTIVATION_METHODS)
    pairs = [(name, "lsq") for name in weights]
    pairs += [("lsq", name) for name in activations if name != "lsq"]
    pairs.append(("post", "asq"))
    return [Variant(label=f"{w} + {a}", weights=w, activations=a) for w, a in pairs]


def chosen_variants(only: Sequence[str] | None, *, bits: int = 4) -> list[Variant]:
    """The variants of these ``weights,activations``, or all, with `bits` on both sides.

    Raises
    ------
    InputError
        If one has no integer form or is not in the table.
    """
    known = {
        f"{variant.weights},{variant.activations}": variant for variant in exportable_variants()
    }
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise InputError(f"--only must be of {' '.join(known)}, not {unknown[0]!r}")
    return [replace(known[name], bits=bits) for name in only or known]


def measure(variant: Variant, plan: Plan, start: Start) -> Agreement:
    """Train, export and simulate one row; a finished run is taken as it is.

    Parameters
    ----------
    variant : Variant
        The methods.
    plan : Plan
        The recipe that rows share, and the folder of the trained networks' folders.
    start : Start
        The floating-point network that training starts from.

    Raises
    ------
    InputError
        If the plan replaces what makes a row, or a run that is there began from another start.
    """
    from asq_hw.train import recipes
    from asq_hw.train.checkpoints import checkpoint
    from asq_hw.train.data.trained_images import images_of, open_as_trained
    from asq_hw.train.export.network import export_network
    from asq_hw.train.options import CALIBRATION_IMAGES
    from asq_hw.train.run import training
    from asq_hw.train.sensitivity import predict_in_double

    name = f"agreement-{variant.key}"
    row = recipes.from_dict(plan.row(variant, _SEED).to_dict() | {"name": name})
    epochs_done(plan.runs / name, start)
    last = training.train(
        row, output=plan.runs / name, init=start.path, resume=True, threads=plan.threads
    ).last
    trained_network = checkpoint.load(last)
    model, images = trained_network.build_model(), images_of(trained_network)
    test, calibration = (
        open_as_trained(row.dataset, images, split=split).sample(count).load()
        for split, count in (("test", None), ("train", CALIBRATION_IMAGES))
    )
    assert test.labels is not None, "networks are trained on labeled images"
    network = export_network(model, row, calibration, [test], images=images)
    trained = network.references[datasets.reference_name(test)]
    integer = simulate(network, test.images, threads=plan.threads).predictions
    control = test.first(_CONTROL_IMAGES)
    return Agreement(
        variant=variant,
        images=len(test),
        trained=_equal(trained, test.labels),
        integer=_equal(integer, test.labels),
        agreeing=_equal(trained, integer),
        controls=len(control),
        double=_equal(trained, predict_in_double(model, control)),
        nudged=_equal(trained, predict_in_double(model, control, nudge=_NUDGE)),
    )


def _equal(classes: NDArray[np.integer], others: NDArray[np.integer]) -> int:
    """Count the images that both put into one class, of as many as the shorter one has."""
    shared = min(len(classes), len(others))
    return int((classes[:shared] == others[:shared]).sum())


def agreement_table(found: Iterable[Agreement]) -> Iterator[str]:
    """Yield the table's lines, each as soon as its row is measured."""
    yield "| weights | activations | PyTorch | integers | same class | float64 | nudged |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for row in found:
        shares = [100 * n / row.images for n in (row.trained, row.integer, row.agreeing)]
        controls = [100 * n / row.controls for n in (row.double, row.nudged)]
        cells = [f"{share:.2f} %" for share in shares] + [f"{share:.1f} %" for share in controls]
        yield f"| {row.variant.weights} | {row.variant.activations} | {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m analysis.paper.agreement", description=__doc__)
    parser.add_argument(
        "--init",
        type=Path,
        required=True,
        metavar="CHECKPOINT",
        help="the floating-point start, or its state dict",
    )
    parser.add_argument("--recipe", default=RECIPE, help="what rows share; default: %(default)s")
    parser.add_argument("--data", metavar="NAME|DIR", help="data set; default: the recipe's")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", metavar="WEIGHTS,ACTIVATIONS", help="rows of the table, by methods"
    )
    parser.add_argument("--bits", type=int, default=4, help="of weights and activations")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    data = [] if given.data is None else [f"dataset={given.data}"]
    plan = Plan(
        recipe=given.recipe,
        overrides=(*given.overrides, *data),
        runs=given.runs,
        init=given.init,
        threads=given.threads,
    )
    try:
        variants = chosen_variants(given.only, bits=given.bits)
        for variant in variants:
            plan.row(variant, _SEED)
        start = train_start(plan, _SEED)
        shared = plan.shared()
        print(
            f"Data set: {shared.dataset}. Recipe: {shared.name} ({plan.settings()}). "
            f"Start: {start.recipe}, {start.digest}. Program: {commit()}.\n",
            flush=True,
        )
        rows = (measure(variant, plan, start) for variant in variants)
        for line in agreement_table(rows):
            print(line, flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.agreement", lambda: main(sys.argv[1:])))
