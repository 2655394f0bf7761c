"""What sets the step of activations: what each way of it gives and costs, in one table.

``python -m analysis.paper.steps [--results CSV]`` prints as Markdown, of the paper's learned
adapter, a shared exponent as in MX formats and a constant step: the accuracy of the ablation's runs
where the CSV has them, what a ResNet-20 stores for them, and the circuits around one layer of the
packaged network, synthesized.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from analysis.cost.networks import find_network
from analysis.cost.overhead import Convention, overhead
from analysis.cost.topologies import Steps
from analysis.paper.results import Result, read_results
from analysis.studies.measured import markdown
from analysis.studies.study import area_of, measure_each
from asq_hw import modelfile
from asq_hw.errors import InputError
from asq_hw.files.packaged import PACKAGED_MODEL
from asq_hw.guard import guarded
from rtl.design import Design
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.serial_adapter import SerialAdapter
from rtl.quantizer.shift import ShiftQuantizer
from rtl.targets.registry import TARGETS

__all__ = ["LAYER", "StepSetting", "settings_of", "step_table"]

LAYER = "layer2.1.conv1"
"""Of the packaged network; any layer with an adapter will do."""
_NETWORK = "resnet20"
_BITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSetting:
    """One way to set the step of a layer.

    Parameters
    ----------
    label : str
        As the table says it.
    steps : Steps
        As `analysis.cost` counts it.
    variant : str
        Key of the ablation's row with it.
    finders : tuple of Design
        What finds the step, in the order in which they follow one another; none if it is constant.
    quantizer : Design
        What makes codes with it.
    """

    label: str
    steps: Steps
    variant: str
    finders: tuple[Design, ...]
    quantizer: Design

    @property
    def designs(self) -> tuple[Design, ...]:
        """All of its circuits."""
        return (*self.finders, self.quantizer)

    @property
    def wait_cyc(self) -> int:
        """Cycles from a sample's last feature to the first moment at which a code can begin."""
        if not isinstance(self.quantizer, StepQuantizer):
            return 0
        return sum(design.latency_cyc for design in self.finders) + 1 + self.quantizer.load_cyc


def settings_of(units: LayerUnits) -> tuple[StepSetting, ...]:
    """Every way, for one layer that has an adapter.

    The adapter has one multiplier for all weights: means come as seldom as channels end. The
    circuits of the other two have the same features, fraction bits and codes, and the constant step
    is the adapter's own for means of 0.

    Raises
    ------
    InputError
        If the layer has no adapter.
    """
    adapter, own = units.adapter(SerialAdapter), units.layer.quantizer
    shape: dict[str, Any] = {
        "bits": own.grid.bits,
        "signed": own.grid.signed,
        "feature_bits": units.source.format.bits,
        "step_fraction_bits": own.step_fraction_bits,
    }
    return (
        StepSetting(
            label="learned: the paper's adapter",
            steps=Steps.PAPER,
            variant=f"asq-lsq-w{_BITS}a{_BITS}",
            finders=(units.pooling(), adapter),
            quantizer=units.quantizer(LadderQuantizer),
        ),
        StepSetting(
            label="shared exponent, as in MX formats",
            steps=Steps.SHARED_EXPONENT,
            variant=f"shared-exponent-lsq-w{_BITS}a{_BITS}",
            finders=(
                ExponentFinder(
                    feature_bits=units.source.format.bits,
                    offset=ExponentFinder.offset_for(own.grid, own.step_fraction_bits),
                ),
            ),
            quantizer=ShiftQuantizer(**shape),
        ),
        StepSetting(
            label="constant: LSQ",
            steps=Steps.FIXED,
            variant=f"lsq-lsq-w{_BITS}a{_BITS}",
            finders=(),
            quantizer=ConstantQuantizer(step=_step_of_zeros(adapter), **shape),
        ),
    )


def _step_of_zeros(adapter: Adapter) -> int:
    means = np.zeros(adapter.channels, dtype=np.int64)
    return int(adapter.reference({"mean": means})["step"][-1])


def step_table(
    settings: Sequence[StepSetting],
    targets: Sequence[str],
    results: Sequence[Result] = (),
    *,
    jobs: int | None = None,
) -> str:
    """Measure the circuits, and print the table.

    Parameters
    ----------
    settings : sequence of StepSetting
        Its rows.
    targets : sequence of str
        What is synthesized for.
    results : sequence of Result
        The ablation's runs.
    jobs : int, optional
        Units at a time; default: cores.
    """
    chosen = [TARGETS.find(name) for name in targets]
    planned = [(t, design) for t in chosen for each in settings for design in each.designs]
    measured = measure_each(planned, jobs=jobs)
    areas = {
        (target.name, design): area_of(one, target)
        for (target, design), one in zip(planned, measured, strict=True)
    }
    heads = ["step", f"top-1 at {_BITS} bits, runs", "stored bits", "cycles"]
    for target in chosen:
        heads += [f"{target.title}: {target.area.heading}", "of these the quantizer"]
    lines = []
    for each in settings:
        network = find_network(_NETWORK, steps=each.steps)
        (row,) = overhead(network, bits=(_BITS,), convention=Convention.STORED).records()
        line = [each.label, _accuracy(each.variant, results), f"{row['asq_storage_bits']:,}"]
        line.append(str(each.wait_cyc))
        for target in chosen:
            total = sum(areas[target.name, design] for design in each.designs)
            line += [f"{total:,}", f"{areas[target.name, each.quantizer]:,}"]
        lines.append(line)
    return markdown(heads, lines)


def _accuracy(variant: str, results: Sequence[Result]) -> str:
    found = [result.top1 for result in results if result.variant == variant]
    return f"{fmean(found):.2f} %, {len(found)}" if found else "not measured"


def main(arguments: Sequence[str]) -> int:
    """Print the table that the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, metavar="CSV", help="the ablation's runs")
    parser.add_argument("--layer", default=LAYER, help="with an adapter; default: %(default)s")
    parser.add_argument("--target", default="ecp5,gates", metavar="T,T,...", help="%(default)s")
    given = parser.parse_args(arguments)
    try:
        results = [] if given.results is None else read_results(given.results)
        units = LayerUnits.of(modelfile.load(PACKAGED_MODEL), given.layer, adaptive=True)
        settings = settings_of(units)
        print(step_table(settings, given.target.split(","), results))
        for each in settings:
            print(f"- {each.label}: {', '.join(design.stem for design in each.designs)}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.steps", lambda: main(sys.argv[1:])))
