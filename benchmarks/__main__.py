"""How fast the bit-accurate simulator is: networks, layers, kernels, a convolution, fresh starts.

    python -m benchmarks [--only networks layers kernels convolution scale] [--keep FOLDER]

Peers come with ``pip install 'asq-hw[train,bench]'``; one that is not there costs a line.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from asq_hw.guard import guarded
from benchmarks import convolution, kernels, networks, peak, scale, throughput
from benchmarks.timing import Section, machine, show

_PARTS = ("networks", "layers", "kernels", "convolution", "scale")
_DEFAULT = ("resnet18-s2", "resnet18-s1", "mobilenetv2-s2")
_PROFILED_IMAGES = 12


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--networks", nargs="+", choices=networks.NETWORKS, default=_DEFAULT)
    parser.add_argument("--images", type=int, default=16, help="that a repetition computes")
    parser.add_argument("--repetitions", type=int, default=5, help="of which the median counts")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for what is made but once")
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        timed = throughput.Timed(
            images=options.images,
            repetitions=options.repetitions,
            threads=options.threads,
            folder=options.keep or Path(folder),
        )
        for section in _sections(options.only, options.networks, timed):
            show(section, options.format)


def _sections(
    parts: Sequence[str], names: Sequence[str], timed: throughput.Timed
) -> Iterator[Section]:
    best = peak.integer_peak()
    rate = "no AVX-512 VNNI" if best is None else f"{best / 1e9:.0f} G products of bytes/s per core"
    yield Section(title="Machine", rows=[{"processor": machine(), "integer peak": rate}])
    if "networks" in parts:
        for name in names:
            yield throughput.compare_networks(name, timed)
    if "layers" in parts:
        images = networks.draw_images(_PROFILED_IMAGES)
        for name in names:
            network = throughput.load_network(name, timed.folder)
            yield throughput.layer_table(network, images, best)
    if "kernels" in parts:
        network = throughput.load_network(names[0], timed.folder)
        images = networks.draw_images(timed.images)
        yield kernels.compare_kernels(network, images, timed.repetitions)
    if "convolution" in parts:
        yield convolution.compare()
    if "scale" in parts:
        yield scale.compare_counts()


if __name__ == "__main__":
    sys.exit(guarded("benchmarks", main))
