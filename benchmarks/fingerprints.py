"""Digests of results that a change to the code's structure must leave as they are.

    python -m benchmarks.fingerprints [--only PART ...] > before.txt

Everything is asked of the command line alone, so that the same file runs on an older commit, and
``diff`` of two outputs names what has changed. A line comes as soon as it is known: an output that
was cut short is compared as far as it goes. Trained networks differ between processors and
versions of their libraries: compare on one machine.

Parts: bundled, resnet18, digits, overhead, verilog, areas and, where it is named, variants, which
takes hours.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asq_hw.guard import guarded

Line = tuple[str, bytes]

_UNITS = {
    "mac post-split": ("mac", "--scheme", "post-split", "--bits", "4"),
    "mac post-lut": ("mac", "--scheme", "post-lut", "--bits", "4"),
    "mac apot": ("mac", "--scheme", "apot", "--bits", "4"),
    "dot uniform": ("dot", "--scheme", "uniform", "--bits", "4", "--lanes", "8"),
    "quantizer": ("quantizer", "--activation-bits", "4"),
    "requantizer": ("requantizer", "--pair", "--shift", "18"),
    "pooling": ("pooling", "--elements", "49", "--multiplier", "1337"),
    "adapter": ("adapter",),
}
_SCHEMES = ("uniform", "pot", "apot", "post-lut", "post-split")
_TARGETS = ("gates", "ice40", "ecp5", "xilinx")
_NETWORKS = ("resnet18", "resnet34", "resnet20", "mobilenetv2")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fingerprints", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    quick = [part for part in _PARTS if part != "variants"]
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=quick, metavar="PART")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for part in options.only:
            for name, content in _PARTS[part](Path(folder)):
                print(f"{hashlib.sha256(content).hexdigest()[:32]}  {name}", flush=True)


def _command(module: str, *arguments: str | Path) -> bytes:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def _asq_hw(*arguments: str | Path) -> bytes:
    return _command("asq_hw.cli", *arguments)


def _bundled(folder: Path) -> Iterator[Line]:
    """Every tensor of the bundled network on 100 images, with both products."""
    for product in ("post-split", "post-lut"):
        trace = folder / product
        _asq_hw("simulate", "--limit", "100", "--product", product, "--trace", trace)
        yield from _tensors(f"bundled {product}", trace)


def _resnet18(folder: Path) -> Iterator[Line]:
    """Every tensor of a ResNet-18 with drawn weights on two drawn images of 3 x 224 x 224."""
    model, trace = folder / "resnet18.asq", folder / "resnet18"
    _command("benchmarks.networks", "resnet18-s2", "-o", model)
    _asq_hw("simulate", model, "--data", _drawn_images(folder / "images"), "--trace", trace)
    yield from _tensors("resnet18", trace)


def _drawn_images(folder: Path) -> Path:
    """Write the images of two of the network's classes, as a data set of one folder a class."""
    from PIL import Image

    from benchmarks.networks import draw_images

    for number, image in enumerate(draw_images(2)):
        place = folder / str(number)
        place.mkdir(parents=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(place / "0.png")
    return folder


def _tensors(title: str, trace: Path) -> Iterator[Line]:
    for path in sorted(trace.rglob("*.npy")):
        yield f"{title} {path.relative_to(trace)}", path.read_bytes()


def _digits(folder: Path) -> Iterator[Line]:
    """The digits' training logs, and the tensors of what is exported from them."""
    _asq_hw("train", "--recipe", "digits-float", "--threads", "1", "-o", folder / "float")
    yield "digits-float log", (folder / "float" / "log.jsonl").read_bytes()
    for recipe in ("digits-asq-post-w4a4", "digits-lsq-apot-w4a4"):
        run = folder / recipe
        start = folder / "float" / "last.pt"
        _asq_hw("train", "--recipe", recipe, "--init", start, "--threads", "1", "-o", run)
        yield f"{recipe} log", (run / "log.jsonl").read_bytes()
        _asq_hw("export", run / "last.pt", "-o", run / "net.asq", "--reference", "digits")
        yield f"{recipe} model file", (run / "net.asq").read_bytes()


def _overhead(folder: Path) -> Iterator[Line]:
    """The paper's Table 1 and the stricter count, in total and layer by layer."""
    for network in _NETWORKS:
        for convention in ("paper", "stored"):
            options = ("--bits", "2,3,4,8", "--convention", convention, "--format", "csv")
            yield f"overhead {network} {convention}", _asq_hw("overhead", network, *options)
            yield (
                f"overhead {network} {convention} by layer",
                _asq_hw("overhead", network, *options, "--per-layer"),
            )


def _verilog(folder: Path) -> Iterator[Line]:
    """Everything that is emitted for one unit of each kind."""
    for name, options in _UNITS.items():
        place = folder / "rtl" / name.replace(" ", "-")
        _asq_hw("rtl", *options, "-o", place)
        for path in sorted(place.rglob("*.*")):
            if path.is_file():
                yield f"rtl {name} {path.relative_to(place)}", path.read_bytes()


def _areas(folder: Path) -> Iterator[Line]:
    """The areas of recommended multiply-accumulate and of dot-product units on every target."""
    yield from _synthesized("recommended")
    for target in _TARGETS:
        yield from _area_lines("dot", target, "--lanes", "4")


def _variants(folder: Path) -> Iterator[Line]:
    """The areas of multiply-accumulate units built in every way: hours of synthesis."""
    yield from _synthesized("all")


def _synthesized(variants: str) -> Iterator[Line]:
    for target in _TARGETS:
        for scheme in _SCHEMES:
            yield from _area_lines("mac", target, "--schemes", scheme, "--variants", variants)


def _area_lines(unit: str, target: str, *options: str) -> Iterator[Line]:
    text = _asq_hw("synth", unit, *options, "--target", target, "--format", "csv")
    for line in sorted(text.decode().splitlines()):
        yield f"synth {unit}: {line}", line.encode()


_PARTS: dict[str, Callable[[Path], Iterator[Line]]] = {
    "bundled": _bundled,
    "resnet18": _resnet18,
    "digits": _digits,
    "overhead": _overhead,
    "verilog": _verilog,
    "areas": _areas,
    "variants": _variants,
}


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.fingerprints", main))
