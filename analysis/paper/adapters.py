"""Accuracy against what adapters store, by their design; beyond the paper.

``python -m analysis.paper.adapters CSV... [--figure FILE]`` takes the CSV of each network's
ablation, prints a table for each, and draws them together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import fmean

from analysis.cost.overhead import Convention, overhead
from analysis.cost.topologies import AdapterPer, Steps, named_network
from analysis.paper.figures import figure_file
from analysis.paper.paired import paired_difference
from analysis.paper.results import Result, read_results
from analysis.paper.rows import TABLES, Variant
from analysis.studies.measured import markdown
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.guard import guarded
from asq_hw.network.activation import ADAPTER_RATIO
from asq_hw.network.topologies import TOPOLOGIES

__all__ = ["Design", "design_table", "designs_of", "draw_designs", "main"]

_HEADS = [
    "what sets the step",
    "stored bits",
    "of the network",
    "top-1, mean",
    "loss, mean",
    "top-1 against the control's (95 %)",
    "seeds",
]
_STEPS = {
    "lsq": Steps.FIXED,
    "asq-constant": Steps.FIXED,
    "asq": Steps.PAPER,
    "shared-exponent": Steps.SHARED_EXPONENT,
}
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
_NEXT_TO_NOTHING = 100
"""Bits below which the axis is linear, so that it has a place for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One way to set the step of activations, in one network, as it was trained.

    Parameters
    ----------
    network : str
        The network by name.
    label : str
        As tables print it.
    stored_bits : int
        What sets the steps, in the model file's own widths.
    share : float
        That over the rest of the network.
    top1 : dict of int to float
        In percent, by seed.
    loss : float or None
        Mean over the seeds, where all of them have one.
    control : dict of int to float
        Of the control, which learns one step as ASQ does and adapts nothing.
    """

    network: str
    label: str
    stored_bits: int
    share: float
    top1: dict[int, float]
    loss: float | None
    control: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds, in percent."""
        return fmean(self.top1.values())


def designs_of(results: Sequence[Result]) -> list[Design]:
    """The designs of one ablation that have been trained.

    Raises
    ------
    InputError
        If none has, or the network is none of those known by name.
    """
    by_row: dict[str, dict[int, float]] = {}
    losses: dict[str, list[float | None]] = {}
    for result in results:
        by_row.setdefault(result.variant, {})[result.seed] = result.top1
        losses.setdefault(result.variant, []).append(result.loss)
    table = TABLES["adapters"]
    rows = [row for row in table.rows if row.key in by_row]
    if not rows:
        raise InputError("results must hold a row of the table adapters, and do not")
    control = by_row.get(table.gates[0].plain.key, {})
    network, width, channels = _network(results[0])
    made = []
    for row in rows:
        stored, whole = _storage(network, width, channels, row)
        made.append(
            Design(
                network=network,
                label=row.label,
                stored_bits=stored,
                share=stored / whole,
                top1=by_row[row.key],
                loss=_mean(losses[row.key]),
                control={} if row.key == table.gates[0].plain.key else control,
            )
        )
    return made


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _network(result: Result) -> tuple[str, int, int]:
    """Its network, and the channels of its first stage and of its images."""
    settings = dict(part.split("=", 1) for part in result.settings.split() if "=" in part)
    name = settings.get("model", "")
    if name not in TOPOLOGIES:
        raise InputError(f"model of results must be one of {', '.join(TOPOLOGIES)}, not {name!r}")
    if result.dataset not in _CHANNELS:
        known = ", ".join(_CHANNELS)
        raise InputError(f"dataset of results must be one of {known}, not {result.dataset!r}")
    try:
        return name, int(settings.get("width", DEFAULT_WIDTH)), _CHANNELS[result.dataset]
    except ValueError:
        raise InputError(f"width of results must be a number, not {settings['width']!r}") from None


DEFAULT_WIDTH = 16
"""Of recipes, whose results do not name what is a default."""
_CHANNELS = {"cifar10": 3, "fashion-mnist": 1, "digits": 1}
"""Data sets of ten classes."""


def _storage(network: str, width: int, channels: int, row: Variant) -> tuple[int, int]:
    """Bits that set the steps, and of all else."""
    settings = dict(row.settings)
    steps = _STEPS[row.activations]
    if settings.get("adapter") == "log-linear":
        steps = Steps.LOG_LINEAR
    ratio = settings.get("adapter_ratio", ADAPTER_RATIO)
    assert isinstance(ratio, int)
    shape = named_network(
        network,
        width=width,
        num_classes=10,
        input_channels=channels,
        steps=steps,
        adapter_ratio=ratio,
        adapter_per=AdapterPer.BLOCK if "adapter_block" in settings else AdapterPer.LAYER,
    )
    counted = overhead(shape, bits=(row.bits,), convention=Convention.STORED).rows[0].as_dict()
    return int(counted["asq_storage_bits"] or 0), int(counted["network_storage_bits"] or 0)


def design_table(designs: Sequence[Design]) -> str:
    """Designs as Markdown, from what stores most to what stores nothing."""
    lines = []
    for each in sorted(designs, key=lambda one: -one.stored_bits):
        found = paired_difference(each.top1, each.control)
        lines.append(
            [
                each.label,
                f"{each.stored_bits:,}",
                f"{each.share:.1%}",
                f"{each.mean:.2f} %",
                "" if each.loss is None else f"{each.loss:.4f}",
                "" if found is None else f"{found.mean:+.2f} ± {found.half_width:.2f}",
                str(len(each.top1)),
            ]
        )
    return f"{designs[0].network}:\n\n{markdown(_HEADS, lines)}"


def draw_designs(designs: Sequence[Sequence[Design]], path: str | Path) -> None:
    """Draw accuracy against stored bits, a panel for each network; small dots are seeds."""
    labels = dict.fromkeys(each.label for own in designs for each in own)
    looks = zip(cycle(_COLORS), cycle(_MARKERS), strict=False)  # of different length
    styles = dict(zip(labels, looks, strict=False))
    drawn = {}
    with figure_file(path, width=3.3 * len(designs) + 0.4, height=4.6) as figure:
        panels = figure.subplots(1, len(designs), squeeze=False, sharex=True)[0]
        for axes, own in zip(panels, designs, strict=True):
            for each in own:
                color, marker = styles[each.label]
                bits = [each.stored_bits] * len(each.top1)
                axes.plot(bits, list(each.top1.values()), ".", color=color, markersize=3)
                drawn[each.label], *_ = axes.plot(bits[:1], [each.mean], marker, color=color)
            axes.set_xscale("symlog", linthresh=_NEXT_TO_NOTHING)
            axes.set_title(own[0].network)
            axes.set_xlabel("stored bits of what sets the step")
        panels[0].set_ylabel("top-1 (%)")
        figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=2)


def main(arguments: Sequence[str]) -> int:
    """Print and draw what the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.adapters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("csv", type=Path, nargs="+", help="the runs of one network's ablation")
    parser.add_argument("--figure", type=Path, metavar="FILE", help=".png, .svg or .pdf")
    given = parser.parse_args(arguments)
    try:
        if given.figure is not None:
            check_outputs({"--figure": given.figure}, {f"csv {one}": one for one in given.csv})
        designs = [designs_of(read_results(one)) for one in given.csv]
        if given.figure is not None:
            draw_designs(designs, given.figure)
        print("\n".join(design_table(own) for own in designs))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.adapters", lambda: main(sys.argv[1:])))
