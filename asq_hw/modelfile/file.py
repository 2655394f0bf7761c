"""Model files: an IntegerNetwork in one safetensors file (docs/arithmetic.md, section 7).

A model file can come from anywhere. Everything in it is checked before it is used, memory is taken
only after sizes are known, and whatever is wrong ends in one `ModelFileError`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError, citing
from asq_hw.modelfile.codec import (
    NamedTensors,
    decode_layer,
    encode_layer,
)
from asq_hw.modelfile.ends import (
    decode_images,
    decode_outputs,
    encode_images,
    encode_outputs,
)
from asq_hw.modelfile.safetensors import TensorFile, parse_json, write
from asq_hw.modelfile.strict_json import Fields
from asq_hw.network.graph import RESERVED_NAME, IntegerNetwork
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import Conv, Input, Layer, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.outputs import Output, only_scores
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import SYMMETRIC

__all__ = ["FORMAT", "VERSION", "ModelFileError", "load", "save", "version_of"]

FORMAT = "asq-hw integer network"
VERSION = 6
"""The latest; every version from 1 on is read."""
_VERSION_WITH_IMAGES = 2
_VERSION_WITH_EXPONENTS = 3
_VERSION_WITH_PRODUCT = 5
_VERSION_WITH_SYMMETRIC = 6
_VERSION_WITH_SHARED_ADAPTER = 6
_VERSION_WITH_OUTPUTS = 6
MAX_LAYERS = 10_000
MAX_SMALL_ELEMENTS = 1 << 22
"""Most elements of all tensors but weight codes and references: they grow to 64 bits each."""

_REFERENCE = f"{RESERVED_NAME}/"
_MAX_MESSAGE = 300


class ModelFileError(InputError):
    """A file that is no model file, or a damaged one.

    The message begins with the path and ends with the contract's rule, such as ``[R-conv]``.
    """


def save(network: IntegerNetwork, path: str | os.PathLike[str]) -> None:
    """Write a model file; one network always gives the same bytes.

    Its version is the first from 2 on that has what the network needs.

    Raises
    ------
    InputError
        If the file cannot be written, or the network is beyond what `load` accepts.

    Examples
    --------
    >>> import numpy as np
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="scores", source="input", multiplier=1, shift=2)
    >>> net = network("mean", input_layer(2, 2), mean)
    >>> save(net, "mean.asq")
    >>> load("mean.asq").name
    'mean'
    """
    layers = []
    tensors: NamedTensors = {}
    for layer in network.layers:
        fields, named = encode_layer(layer)
        layers.append(fields)
        tensors |= named
    for dataset, classes in network.references.items():
        tensors[f"{_REFERENCE}{dataset}"] = ("U16", classes)
    graph: dict[str, object] = {
        "name": network.name,
        "metadata": dict(sorted(network.metadata.items())),
        "images": None if network.images is None else encode_images(network.images),
        "layers": layers,
    }
    if network.product is not ProductKind.POST_SPLIT:
        graph["product"] = str(network.product)
    if not _is_usual(network):
        graph["outputs"] = encode_outputs(network.outputs)
    metadata = {
        "format": FORMAT,
        "version": str(max(_VERSION_WITH_IMAGES, version_of(network))),
        "graph": json.dumps(graph, separators=(",", ":")),
    }
    _check_counts(len(layers), {name: array.size for name, (_, array) in tensors.items()})
    write(path, metadata, tensors)


def load(path: str | os.PathLike[str]) -> IntegerNetwork:
    """Read a model file.

    Takes at most twice the file's size and 200 MB of memory, whatever the file holds.

    Raises
    ------
    ModelFileError
        If the file is missing or anything in it is wrong; the message names the path and the rule.

    Examples
    --------
    >>> from importlib.resources import files
    >>> network = load(files("asq_hw") / "bundled" / "fashion-mnist-resnet20-w4a4.asq")
    >>> network.input.channels, network.input.height, network.input.width
    (1, 28, 28)
    """
    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a directory" if os.path.isdir(path) else "not a regular file"
            raise InputError(f"it is {kind}")
        with open(path, "rb") as file:
            with citing("R-container"):
                opened = TensorFile(file)
            return _decode(opened)
    except OSError as error:
        raise ModelFileError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        message = f"{os.fspath(path)}: its graph is nested too deeply [L-nesting]"
        raise ModelFileError(message, rule="L-nesting") from error
    except InputError as error:
        message = " ".join(str(error).split())
        if len(message) > _MAX_MESSAGE:
            message = f"{message[:_MAX_MESSAGE]} ..."
        rule = "" if error.rule is None else f" [{error.rule}]"
        raise ModelFileError(f"{os.fspath(path)}: {message}{rule}", rule=error.rule) from error


def version_of(network: IntegerNetwork) -> int:
    """The first version of the format that has all that a network has."""
    versions = [_version_of(layer) for layer in network.layers]
    versions += [1 if network.images is None else _VERSION_WITH_IMAGES]
    is_split = network.product is ProductKind.POST_SPLIT
    versions += [1 if is_split else _VERSION_WITH_PRODUCT]
    versions += [1 if _is_usual(network) else _VERSION_WITH_OUTPUTS]
    return max(versions)


def _is_usual(network: IntegerNetwork) -> bool:
    """Whether a network's outputs are those that it has where it names none."""
    return network.outputs == only_scores(network.layers[-1].name)


def _version_of(layer: Layer) -> int:
    return max(layer.version(), _version_of_step(layer), _version_of_grid(layer))


def _version_of_grid(layer: Layer) -> int:
    is_symmetric = isinstance(layer, Conv | Linear) and layer.weight_grid.scheme is SYMMETRIC
    return _VERSION_WITH_SYMMETRIC if is_symmetric else 1


def _version_of_step(layer: Layer) -> int:
    if not isinstance(layer, Conv | Linear):
        return 1
    match layer.quantizer.step:
        case LogLinearStep() | SharedExponentStep():
            return _VERSION_WITH_EXPONENTS
        case SharedAdapterStep():
            return _VERSION_WITH_SHARED_ADAPTER
        case _:
            return 1


class _Tensors:
    """The file's tensors, each to be taken once."""

    def __init__(self, file: TensorFile) -> None:
        self._file = file
        self._left = set(file.entries)

    def take(self, name: str, dtype: str, rank: int) -> NDArray[Any]:
        """Read a tensor; InputError if it is missing or of another type or rank."""
        if name not in self._left:
            raise InputError(f"the tensor {name!r} is missing", rule="R-tensors")
        entry = self._file.entries[name]
        if (entry.dtype, len(entry.shape)) != (dtype, rank):
            raise InputError(
                f"the tensor {name!r} must be {dtype} with {rank} dimensions, "
                f"not {entry.dtype} with {len(entry.shape)}",
                rule="R-tensors",
            )
        self._left.remove(name)
        return self._file.read(name)

    def references(self) -> dict[str, NDArray[np.uint16]]:
        """Every reference, by data set."""
        names = sorted(name for name in self._left if name.startswith(_REFERENCE))
        return {name.removeprefix(_REFERENCE): self.take(name, "U16", 1) for name in names}

    def finish(self) -> None:
        if self._left:
            raise InputError(f"it has an unknown tensor {min(self._left)[:80]!r}", rule="R-tensors")


def _decode(file: TensorFile) -> IntegerNetwork:
    with citing("R-metadata"):
        metadata = Fields("its metadata", file.metadata)
        if not metadata.has("format") or metadata.string("format") != FORMAT:
            raise InputError("it is not a model file: its metadata names another format or none")
        version = _version(metadata.string("version"))
        text = metadata.string("graph")
        metadata.finish()
    with citing("R-graph"):
        graph = Fields("its graph", parse_json("its graph", text))
        return _decode_graph(graph, file, version)


def _decode_graph(graph: Fields, file: TensorFile, version: int) -> IntegerNetwork:
    layers = graph.array("layers")
    _check_counts(len(layers), {name: entry.elements for name, entry in file.entries.items()})
    tensors = _Tensors(file)
    made = tuple(
        decode_layer(value, number, tensors) for number, value in enumerate(layers, start=1)
    )
    for layer in made:
        _check_version(layer, version)
    network = IntegerNetwork(
        name=graph.string("name"),
        layers=made,
        outputs=_decode_outputs(graph) if version >= _VERSION_WITH_OUTPUTS else (),
        metadata=graph.string_mapping("metadata"),
        references=tensors.references(),
        images=None if version < _VERSION_WITH_IMAGES else _decode_images(graph, made),
        product=_decode_product(graph)
        if version >= _VERSION_WITH_PRODUCT
        else ProductKind.POST_SPLIT,
    )
    graph.finish()
    tensors.finish()
    return network


def _check_version(layer: Layer, version: int) -> None:
    """Raise InputError if a file of this version cannot have the layer."""
    for what, needed, rule in (
        ("kind", layer.since, layer.rule()),
        ("step size", _version_of_step(layer), "R-quantizer"),
        ("scheme", _version_of_grid(layer), "R-weights"),
        (" and ".join(layer.optional_fields()), layer.version(), layer.rule()),
    ):
        if version < needed:
            raise InputError(
                f"{layer.name}: its {what} needs version {needed}, not {version}", rule=rule
            )


def _decode_images(graph: Fields, layers: tuple[Layer, ...]) -> ImageSpec | None:
    """The images that the network takes; their shape is its input's."""
    images = graph.optional_nested("images")
    if images is None:
        return None
    if not layers or not isinstance(layers[0], Input):
        raise InputError("a network's first layer must be its input")
    with citing("R-images"):
        return decode_images(images, layers[0])


def _decode_product(graph: Fields) -> ProductKind:
    """What the network was trained for; ``post-split`` where that is not said."""
    if not graph.has("product"):
        return ProductKind.POST_SPLIT
    return Product(kind=graph.string("product")).kind  # type: ignore[arg-type]  # it is checked


def _decode_outputs(graph: Fields) -> tuple[Output, ...]:
    """The maps that the network gives out; none where it does not name them."""
    if not graph.has("outputs"):
        return ()
    with citing("R-outputs"):
        return decode_outputs(graph.array("outputs"))


def _version(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise InputError(f"version {text[:40]!r} is no version of a model file")
    if int(text) > VERSION:
        message = f"version {text} is newer than this program reads ({VERSION})"
        raise InputError(message, rule="L-version")
    return int(text)


def _check_counts(layers: int, elements: dict[str, int]) -> None:
    if layers > MAX_LAYERS:
        message = f"it has {layers} layers; at most {MAX_LAYERS} are read"
        raise InputError(message, rule="L-layer-count")
    small = sum(
        count
        for name, count in elements.items()
        if not name.endswith("/weight_codes") and not name.startswith(_REFERENCE)
    )
    if small > MAX_SMALL_ELEMENTS:
        raise InputError(
            f"its tensors beside the weight codes have {small} elements; "
            f"at most {MAX_SMALL_ELEMENTS} are read",
            rule="L-tensor-elements",
        )
