"""The examples on disk: for each a model file, its pixels as a data set, and the oracle's trace.

Everything is written from the oracle's integers, never from the simulator's, and one example always
gives the same bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw import modelfile, oracle
from asq_hw.conformance.models import EXAMPLES, Example
from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.modelfile import safetensors
from asq_hw.modelfile.codec import NamedTensors, encode_layer
from asq_hw.modelfile.file import FORMAT
from asq_hw.numbers.products import ProductKind

__all__ = ["FOLDER", "command", "write_all", "write_example"]

FOLDER = Path(__file__).parent / "files"
"""Where the package keeps what `write_all` writes."""

_MODEL, _DATA, _TRACE = "model.asq", "data", "trace"
_INPUTS = "inputs.npy"
"""In the folder of data, where a network takes other integers than pixels."""
_INDEX_FORMAT = "asq-hw trace"


def command(example: Example, folder: Path = FOLDER) -> str:
    """The command line that holds the simulator against the example's trace."""
    place = folder / example.name
    data = place / _DATA if _takes_pixels(example) else place / _DATA / _INPUTS
    words = ["asq-hw simulate", f"{place / _MODEL}", f"--data {data}"]
    if example.product.kind is not ProductKind.POST_SPLIT:
        words.append(f"--product {example.product.kind}")
    if example.product.kind is ProductKind.POST_LUT:
        words.append(f"--lut-fraction-bits {example.product.lut_fraction_bits}")
    return " ".join([*words, f"--compare {place / _TRACE}"])


def write_all(folder: Path) -> None:
    """Write every example into a folder of its own below `folder`.

    Raises
    ------
    InputError
        If a file or a folder cannot be written.
    """
    for example in EXAMPLES:
        write_example(example, folder / example.name)


def write_example(example: Example, folder: Path) -> None:
    """Write one example; its labels are the oracle's predictions, so that all of them are right.

    Integers that are no pixels have no labels.
    """
    try:
        for part in (_DATA, _TRACE):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make folder {folder}: {error.strerror}") from error
    _write_model(example, folder / _MODEL)
    if _takes_pixels(example):
        labels = oracle.predict(example.network, example.images, example.product)
        _write_images(folder / _DATA, example.images.astype(np.uint8), labels)
    else:
        _write_array(folder / _DATA / _INPUTS, example.images)
    _write_trace(folder / _TRACE, example)


def _write_model(example: Example, path: Path) -> None:
    if example.version != 1:
        modelfile.save(example.network, path)
        return
    layers = []
    tensors: NamedTensors = {}
    for layer in example.network.layers:
        fields, named = encode_layer(layer)
        layers.append(fields)
        tensors |= named
    graph = {"name": example.network.name, "metadata": {}, "layers": layers}
    metadata = {
        "format": FORMAT,
        "version": "1",
        "graph": json.dumps(graph, separators=(",", ":")),
    }
    safetensors.write(path, metadata, tensors)


def _write_images(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """IDX files of gray images, or a binary CIFAR-10 batch of color ones."""
    if images.shape[1] == 1:
        header = struct.pack(">4I", 0x0803, len(images), *images.shape[2:])
        _write(folder / "t10k-images-idx3-ubyte", header + images.tobytes())
        header = struct.pack(">2I", 0x0801, len(images))
        _write(folder / "t10k-labels-idx1-ubyte", header + labels.astype(np.uint8).tobytes())
        return
    records = [
        bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
    ]
    _write(folder / "test_batch.bin", b"".join(records))


def _write_trace(folder: Path, example: Example) -> None:
    tensors = oracle.trace(example.network, example.images, example.product).tensors()
    for name, values in tensors.items():
        _write_array(folder / f"{name}.npy", values)
    index = {
        "format": _INDEX_FORMAT,
        "network": example.network.name,
        "images": len(example.images),
        "product": str(example.product.kind),
        "lut_fraction_bits": example.product.lut_fraction_bits,
        "tensors": list(tensors),
    }
    _write(folder / "index.json", (json.dumps(index, indent=2) + "\n").encode())


def _takes_pixels(example: Example) -> bool:
    return example.images.dtype == np.uint8


def _write_array(path: Path, values: NDArray[np.integer[Any]]) -> None:
    kind = _narrowest(values)
    header = {"descr": kind, "fortran_order": False, "shape": values.shape}
    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(values.astype(kind).tobytes())


def _narrowest(values: NDArray[np.integer[Any]]) -> str:
    """The smallest little-endian type that holds the values."""
    low, high = int(values.min()), int(values.max())
    return next(
        kind
        for kind, bits in (("|i1", 8), ("<i2", 16), ("<i4", 32), ("<i8", 64))
        if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1)
    )


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)
