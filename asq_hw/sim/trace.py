"""Intermediate tensors on disk, and the first one that differs from them.

A trace is a folder with one ``NAME.npy`` for each tensor, (N, ...) integers, and an
``index.json`` that lists them in the order they are computed in; `tensor_shapes` says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write, make_folder
from asq_hw.files.reading import open_regular, read_bounded
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product
from asq_hw.sim.tensors import IntTensor, TraceBatch, tensor_shapes, tensor_type

__all__ = ["Difference", "TraceComparison", "TraceWriter", "compare_traces", "write_trace"]

_INDEX = "index.json"
_FORMAT = "asq-hw trace"
_READ_SAMPLES = 64
_MOST_INDEX_BYTES = 1 << 24


class TraceWriter:
    """Writes the batches that `simulate` hands it; made by `write_trace`."""

    def __init__(self, files: Mapping[str, BinaryIO], count: int) -> None:
        self._files = files
        self._count = count
        self._written = 0

    def __call__(self, batch: TraceBatch) -> None:
        """Append one batch; batches come in order."""
        for name, file in self._files.items():
            values = batch.tensors[name]
            file.write(np.ascontiguousarray(values, dtype=tensor_type(name)).data)
        self._written += batch.samples

    def check_complete(self) -> None:
        """Raise if a sample is missing, so that no file with a wrong header takes its place."""
        if self._written != self._count:
            raise RuntimeError(f"{self._written} of {self._count} samples were traced")


@contextmanager
def write_trace(
    folder: Path, network: IntegerNetwork, count: int, product: Product | None = None
) -> Iterator[TraceWriter]:
    """Yield a writer for `simulate`'s argument ``trace``; files appear when the block ends well.

    Parameters
    ----------
    folder : Path
        Made where it does not exist; files of an earlier trace are replaced.
    count : int
        Number of images that will be simulated.

    Raises
    ------
    InputError
        If the folder cannot be made or written to.

    Examples
    --------
    >>> import numpy as np
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="scores", source="input", multiplier=1, shift=2)
    >>> net = network("mean", input_layer(2, 2), mean)
    >>> images = np.array([[[[1, 2], [3, 5]]]], dtype=np.uint8)
    >>> from asq_hw.sim import simulate
    >>> with write_trace(Path("trace"), net, len(images)) as writer:
    ...     result = simulate(net, images, trace=writer)
    >>> sorted(path.name for path in Path("trace").iterdir())
    ['index.json', 'input.npy', 'scores.npy']
    """
    product = network.trained_product if product is None else product
    shapes = tensor_shapes(network, product)
    make_folder(folder, "trace folder")
    with ExitStack() as stack:
        files = {name: stack.enter_context(atomic_write(_file(folder, name))) for name in shapes}
        for name, shape in shapes.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(tensor_type(name)),
                "fortran_order": False,
                "shape": (count, *shape),
            }
            np.lib.format.write_array_header_1_0(files[name], header)
        writer = TraceWriter(files, count)
        yield writer
        writer.check_complete()
    index = {
        "format": _FORMAT,
        "network": network.name,
        "images": count,
        "product": str(product.kind),
        "lut_fraction_bits": product.lut_fraction_bits,
        "tensors": list(shapes),
    }
    with atomic_write(folder / _INDEX) as file:
        file.write((json.dumps(index, indent=2) + "\n").encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing, in the order of execution, that is not as expected.

    `index` is the element's, with the sample first; None, like the values, where whole tensors
    cannot be compared. Then `problem` says why.
    """

    tensor: str
    index: tuple[int, ...] | None = None
    expected: int | None = None
    actual: int | None = None
    problem: str | None = None

    def __str__(self) -> str:
        if self.index is None:
            return f"{self.tensor}: {self.problem}"
        place = ", ".join(map(str, self.index))
        return f"{self.tensor}[{place}] is {self.actual}, expected {self.expected}"


class TraceComparison:
    """Holds what `simulate` hands it against a trace on disk, batch by batch.

    Every feature map must be there, and everything that ``index.json`` lists; other tensors are
    compared where their files exist.

    Raises
    ------
    InputError
        If the folder is missing or a file cannot be read.
    """

    def __init__(
        self, folder: Path, network: IntegerNetwork, product: Product | None = None
    ) -> None:
        product = network.trained_product if product is None else product
        if not folder.is_dir():
            raise InputError(f"there is no trace folder {folder}")
        self._shapes = tensor_shapes(network, product)
        self._order = {name: number for number, name in enumerate(self._shapes)}
        self._found: list[tuple[int, Difference]] = []
        self._compared = 0
        self._samples = 0
        required = {layer.name for layer in network.layers} | set(_listed(folder))
        self._expected: dict[str, IntTensor] = {}
        for name in self._shapes:
            path = _file(folder, name)
            if path.exists():
                self._expected[name] = _load(path)
            elif name in required:
                self._note(name, problem=f"expected in {path}, which is missing")
        for name in sorted(required - set(self._shapes)):
            self._note(
                name, problem="is in the expected trace, but the network does not compute it"
            )

    def __call__(self, batch: TraceBatch) -> None:
        """Compare one batch."""
        self._samples += batch.samples
        for name, actual in batch.tensors.items():
            if name in self._expected and not self._is_settled(name):
                self._compare(name, batch.start, actual)

    def result(self) -> Difference | None:
        """The first difference; None if everything was compared and is equal."""
        for name, expected in self._expected.items():
            shape = (self._samples, *self._shapes[name])
            if expected.shape != shape:
                self._note(name, problem=f"has shape {shape}, expected {expected.shape}")
        if self._found:
            return min(self._found, key=lambda found: found[0])[1]
        if self._compared == 0:
            return Difference(tensor="trace", problem="nothing was compared")
        return None

    def _is_settled(self, name: str) -> bool:
        """Whether an earlier tensor is known to differ, or this one at an earlier sample."""
        return any(order <= self._order[name] for order, _ in self._found)

    def _compare(self, name: str, start: int, actual: IntTensor) -> None:
        expected = self._expected[name][start : start + len(actual)]
        if expected.shape != actual.shape:
            return  # reported at the end, when the number of samples is known
        self._compared += actual.size
        places = np.flatnonzero(np.asarray(expected != actual).reshape(-1))
        if places.size:
            index = tuple(int(i) for i in np.unravel_index(places[0], actual.shape))
            difference = Difference(
                tensor=name,
                index=(start + index[0], *index[1:]),
                expected=int(expected[index]),
                actual=int(actual[index]),
            )
            self._found.append((self._order[name], difference))

    def _note(self, name: str, *, problem: str) -> None:
        order = self._order.get(name, len(self._order))
        self._found.append((order, Difference(tensor=name, problem=problem)))


def compare_traces(
    expected: Path, actual: Path, network: IntegerNetwork, product: Product | None = None
) -> Difference | None:
    """The first difference between two traces on disk, in the order of execution.

    Parameters
    ----------
    expected, actual : Path
        Folders that `write_trace` or another executor wrote.
    network : IntegerNetwork
        What was run.
    product : Product, optional
        How weights with the square root of two were multiplied; None: as the network was trained.

    Examples
    --------
    >>> import numpy as np
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="scores", source="input", multiplier=1, shift=2)
    >>> net = network("mean", input_layer(2, 2), mean)
    >>> from asq_hw.sim import simulate
    >>> for name, pixel in (("expected", 5), ("actual", 4)):
    ...     images = np.array([[[[1, 2], [3, pixel]]]], dtype=np.uint8)
    ...     with write_trace(Path(name), net, len(images)) as writer:
    ...         result = simulate(net, images, trace=writer)
    >>> print(compare_traces(Path("expected"), Path("actual"), net))
    input[0, 0, 1, 1] is 4, expected 5
    """
    comparison = TraceComparison(expected, network, product)
    product = network.trained_product if product is None else product
    names = tensor_shapes(network, product)
    tensors = {name: _load(_file(actual, name)) for name in names if _file(actual, name).exists()}
    missing = [layer.name for layer in network.layers if layer.name not in tensors]
    if missing:
        return Difference(tensor=missing[0], problem=f"missing in {actual}")
    count = min(len(values) for values in tensors.values())
    for start in range(0, count, _READ_SAMPLES):
        stop = min(start + _READ_SAMPLES, count)
        part = {name: values[start:stop] for name, values in tensors.items()}
        comparison(TraceBatch(start=start, samples=stop - start, tensors=part))
    return comparison.result()


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _listed(folder: Path) -> list[str]:
    """Names in a folder's index; none where there is no index."""
    path = folder / _INDEX
    if not path.exists():
        return []
    try:
        index = json.loads(read_bounded(path, "trace index", _MOST_INDEX_BYTES))
        if index["format"] != _FORMAT:
            raise ValueError(f"format must be {_FORMAT!r}")
        names = index["tensors"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("tensors must be a list of names")
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"cannot read {path}: it is nested too deeply") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return names


def _load(path: Path) -> IntTensor:
    open_regular(path, "trace file").close()  # numpy would wait for a pipe
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, OverflowError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.ndim < 1:
        raise InputError(f"{path} must hold an array of integers")
    return array
