"""Images per second: the bit-accurate simulator beside PyTorch's float32 on the same processor.

Both run ResNet-20 (widths 16, 32, 64) over bundled Fashion-MNIST images: the simulator the bundled
integer network, or a randomly weighted one of the same shape, PyTorch the full-precision topology
in evaluation mode. Repetitions are interleaved, so that a busy machine slows both.

    python benchmarks/simulator_vs_torch.py [--threads 1 2] [--images 1000] [--repetitions 7]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from random_resnet20 import random_resnet20

import asq_hw
from asq_hw import datasets, modelfile
from asq_hw.guard import guarded
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.sim import simulate
from asq_hw.train import models

BUNDLED = Path(asq_hw.__file__).parent / "bundled" / "fashion-mnist-resnet20-w4a4.asq"
TORCH_BATCH_SIZES = (16, 64, 250)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--random", action="store_true", help="use random weights")
    options = parser.parse_args(arguments)
    images = np.array(datasets.load("bundled", limit=options.images).images)  # writable for torch
    network = random_resnet20() if options.random else load_network()
    shape = "x".join(str(size) for size in images.shape)
    macs = sum(network.macs().values()) / 1e6
    print(f"{network.name}, {macs:.1f} M multiply-accumulates for an image; {shape} images")
    print(f"medians of {options.repetitions} interleaved repetitions, images per second\n")
    print(f"{'threads':>7}  {'what runs':<32} {'images/s':>9} {'to float32':>11}")
    for threads in options.threads:
        seconds = measure(contestants(network, images, threads), options.repetitions)
        report(threads, {name: len(images) / median(values) for name, values in seconds.items()})


def load_network() -> IntegerNetwork:
    """Read the bundled network, or draw one of its shape where it is not there."""
    return modelfile.load(BUNDLED) if BUNDLED.exists() else random_resnet20()


def contestants(
    network: IntegerNetwork, images: NDArray, threads: int
) -> dict[str, Callable[[], object]]:
    lut = Product(kind=ProductKind.POST_LUT)
    return {
        **{
            f"PyTorch float32, batch {size}": torch_runner(images, size, threads)
            for size in TORCH_BATCH_SIZES
        },
        "simulator": lambda: simulate(network, images, threads=threads),
        "simulator, post-lut": lambda: simulate(network, images, threads=threads, product=lut),
        "simulator, portable kernels": lambda: simulate(
            network, images, threads=threads, kernel="portable"
        ),
    }


def torch_runner(images: NDArray, batch_size: int, threads: int) -> Callable[[], object]:
    model = models.build("resnet20", width=16, in_channels=images.shape[1], num_classes=10)
    model = model.eval().to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(images).float().div(255).contiguous(memory_format=torch.channels_last)

    def run() -> object:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return [model(part) for part in pixels.split(batch_size)]

    return run


def measure(runners: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds by runner; the first round, in which code is compiled, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for repetition in range(repetitions + 1):
        for name, run in runners.items():
            start = time.perf_counter()
            run()
            if repetition:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(threads: int, rates: dict[str, float]) -> None:
    best = max(rate for name, rate in rates.items() if name.startswith("PyTorch"))
    for name, rate in rates.items():
        print(f"{threads:>7}  {name:<32} {rate:>9.0f} {rate / best:>10.2f}x", flush=True)


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.simulator_vs_torch", main))
