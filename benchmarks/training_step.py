"""Time and memory of one training step of ResNet-20, quantized against full precision.

    python benchmarks/training_step.py [--steps 12] [--batch 64] [--format json]

Quantizers round in compiled loops, as under ``asq-hw train``; in rows that end in "(plain)" they
are made of PyTorch's own operations, and in those that end in "(integers)" the network computes in
the integers of export (`integer_epochs`). One thread, images of 3 x 32 x 32 drawn at random. The
kinds take turns, so that whatever else the machine does falls on all of them alike; times are
medians over the steps. Memory is how far a fresh process's peak resident size rises above what it
held before the network was made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from asq_hw.guard import guarded
from asq_hw.network.images import ImageSpec
from asq_hw.train import recipes
from asq_hw.train.batch_norm import freeze_batch_norm
from asq_hw.train.compiled.rounding import CompiledRounding
from asq_hw.train.data.pixels import GivenIntegers
from asq_hw.train.export.calibration import calibrate
from asq_hw.train.export.forward import compute_in_integers
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.graph.operations import trace
from asq_hw.train.models import build
from asq_hw.train.modes import evaluation_mode
from asq_hw.train.quantizers.quantizer import round_in_loops
from asq_hw.train.run.optimizer import make_optimizer

KINDS = {
    "float": ("none", "none"),
    "lsq + lsq": ("lsq", "lsq"),
    "asq + lsq": ("lsq", "asq"),
    "asq + pot": ("pot", "asq"),
    "asq + post": ("post", "asq"),
}
"""Weight and activation method by the name of the row, activations first."""

_PLAIN, _INTEGERS = " (plain)", " (integers)"
_MEMORY_STEPS = 3
_SPEC = ImageSpec(shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)


class Step:
    """A network in training, and one step of it."""

    def __init__(self, kind: str, batch: int) -> None:
        weights, activations = KINDS[_methods(kind)]
        changes = {"model": "resnet20", "weights": weights, "activations": activations}
        recipe = recipes.load("digits-asq-post-w4a4", changes)
        torch.manual_seed(0)
        model = build("resnet20", width=16, in_channels=3, num_classes=10)
        self.model = quantize(model, recipe).to(memory_format=torch.channels_last)
        round_in_loops(self.model, None if kind.endswith(_PLAIN) else CompiledRounding())
        self.model.train()
        self.optimizer = make_optimizer(self.model, recipe)
        given = GivenIntegers(integers=_pixels(batch), spec=_SPEC, shape=_SPEC.shape)
        self.images = given.values(slice(None)).to(memory_format=torch.channels_last)
        self.labels = torch.randint(10, (batch,))
        if kind.endswith(_INTEGERS):
            self.take()  # scales start
            freeze_batch_norm(self.model)
            with evaluation_mode(self.model):
                ranges = calibrate(self.model, trace(self.model).operations, given)
            compute_in_integers(self.model, ranges, _SPEC)

    def take(self) -> float:
        """Take a step and return its seconds."""
        started = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return time.perf_counter() - started


def _methods(kind: str) -> str:
    return kind.removesuffix(_PLAIN).removesuffix(_INTEGERS)


def _pixels(count: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, *_SPEC.shape), dtype=np.uint8)


def step_seconds(kinds: list[str], *, steps: int, batch: int) -> dict[str, float]:
    """Median seconds of a step of each kind, their steps taken in turn."""
    running = {kind: Step(kind, batch) for kind in kinds}
    for step in running.values():
        step.take()
        step.take()
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(steps):
        for kind, step in running.items():
            seconds[kind].append(step.take())
    return {kind: median(values) for kind, values in seconds.items()}


def peak_mebibytes(kind: str, batch: int) -> float:
    """Peak resident size of a fresh process that trains, above what it began with."""
    command = [sys.executable, str(Path(__file__)), "--memory-of", kind, "--batch", str(batch)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _own_rise(kind: str, batch: int) -> float:
    # What the compiler and torch allocate once belongs to no kind.
    CompiledRounding()
    functional.conv2d(torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)).sum()
    before = _peak_kibibytes()
    step = Step(kind, batch)
    for _ in range(_MEMORY_STEPS):
        step.take()
    return (_peak_kibibytes() - before) / 1024


def _peak_kibibytes() -> int:
    """Peak resident size; getrusage would tell the parent's where that was larger."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each kind")
    parser.add_argument("--batch", type=int, default=64)
    default = ",".join([*KINDS, f"asq + post{_PLAIN}", f"asq + post{_INTEGERS}"])
    parser.add_argument("--kinds", default=default, help="rows, by comma; float is added")
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of is not None:
        print(_own_rise(options.memory_of, options.batch))
        return
    kinds = ["float", *(kind for kind in options.kinds.split(",") if kind != "float")]
    for kind in kinds:
        if _methods(kind) not in KINDS or kind == f"float{_INTEGERS}":
            parser.error(f"--kinds must be of {', '.join(KINDS)}, not {kind!r}")
    seconds = step_seconds(kinds, steps=options.steps, batch=options.batch)
    memory = {} if options.no_memory else {k: peak_mebibytes(k, options.batch) for k in kinds}
    rows = [
        {
            "kind": kind,
            "milliseconds": 1000 * seconds[kind],
            "time_ratio": seconds[kind] / seconds["float"],
            "peak_mebibytes": memory.get(kind),
            "memory_ratio": memory[kind] / memory["float"] if memory else None,
        }
        for kind in kinds
    ]
    if options.format == "json":
        print(json.dumps({"batch": options.batch, "steps": options.steps, "rows": rows}))
        return
    print(f"{'activations + weights':22} {'ms':>8} {'ratio':>7} {'MiB':>8} {'ratio':>7}")
    for row in rows:
        cells = f"{row['kind']:22} {row['milliseconds']:8.1f} {row['time_ratio']:7.3f}"
        if memory:
            cells += f" {row['peak_mebibytes']:8.1f} {row['memory_ratio']:7.3f}"
        print(cells)


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.training_step", main))
