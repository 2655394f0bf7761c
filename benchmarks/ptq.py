"""Post-training quantization side by side: ours, ONNX Runtime's static int8, and Brevitas'.

    python -m benchmarks.ptq resnet20 --data cifar10 --weights resnet20.pt
    python -m benchmarks.ptq efficientnet-lite0 --data FOLDER

FOLDER holds a folder of images for each of ImageNet's classes. Each contender has a process of its
own, one after the other, with one thread, the same images to calibrate with and the same others to
be measured on. Processor seconds and peak memory are those of quantizing, with the network and all
images in memory. A contender that is not installed, or cannot do it, costs a line. They come with
``pip install -e '.[train,bench,zoo]' brevitas`` in an environment of their own: constraints.txt
would make that an old Brevitas, since newer ones want an older setuptools.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from asq_hw.errors import InputError
from asq_hw.guard import guarded
from benchmarks.timing import Section, machine, show

__all__ = ["compare", "main"]

ROOT = Path(__file__).parents[1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ptq", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("network", choices=("resnet20", "efficientnet-lite0"))
    parser.add_argument("--data", required=True, help="data set by name, or its folder")
    parser.add_argument("--weights", type=Path, help="the network's state dict")
    parser.add_argument("--images", type=int, help="that are measured on; default: all")
    parser.add_argument("--calibration", type=int, default=128, help="images to calibrate with")
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[""], help="rows with a text")
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown")
    parser.add_argument("--one", nargs=2, metavar=("ROW", "FOLDER"), help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    if options.one is None:
        show(compare(options, given), options.format)
    else:
        print(json.dumps(_measure(options, options.one[0], Path(options.one[1]))))


def compare(options: argparse.Namespace, given: Sequence[str]) -> Section:
    """A row for each contender whose name holds one of the texts, the network itself first."""
    from benchmarks.ptq_contenders import CONTENDERS

    first, *others = CONTENDERS
    rows = []
    with TemporaryDirectory() as folder:
        for name in (first, *(n for n in others if any(text in n for text in options.only))):
            contender = CONTENDERS[name]
            row = {"tool": contender.tool, "bits": contender.bits, "settings": contender.settings}
            rows.append(row | _in_new_process(given, name, folder))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return Section(title=f"{options.network}, {machine()}", rows=rows)


def _in_new_process(given: Sequence[str], name: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.ptq", *given, "--one", name, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _measure(options: argparse.Namespace, name: str, folder: Path) -> dict[str, Any]:
    """Quantize and classify, in a process of its own; the first one leaves its classes behind."""
    import torch

    from benchmarks.ptq_contenders import CONTENDERS
    from benchmarks.ptq_networks import open_problem

    torch.set_num_threads(1)
    torch.manual_seed(0)
    problem = open_problem(
        options.network,
        options.data,
        weights=options.weights,
        images=options.images,
        calibration=options.calibration,
    )
    with TemporaryDirectory() as work:
        started = time.process_time()
        try:
            classify = CONTENDERS[name].quantize(problem, Path(work))
        except ModuleNotFoundError as error:
            raise InputError(f"{error.name} is not installed: pip install {error.name}") from None
        seconds = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        classes = classify(problem.test)
    wanted = folder / "float.npy"
    if not wanted.exists():
        np.save(wanted, classes)
    return {
        "images": len(classes),
        "top-1": _percent(classes == problem.labels),
        "same class as float": _percent(classes == np.load(wanted)),
        "quantizing, CPU s": seconds if CONTENDERS[name].bits != "float" else None,
        "peak memory, MiB": peak,
    }


def _percent(right: Any) -> str:
    return f"{float(np.mean(right)):.2%}"


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.ptq", main))
