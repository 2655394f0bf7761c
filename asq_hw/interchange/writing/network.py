"""An integer network as a model of ONNX or QONNX."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

import asq_hw
from asq_hw.errors import check_range
from asq_hw.interchange.writing.dialect import Dialect
from asq_hw.interchange.writing.graph import GraphWriter
from asq_hw.interchange.writing.known import check_known
from asq_hw.interchange.writing.layers import Writing, write_layer
from asq_hw.network.graph import IntegerNetwork

__all__ = ["MAX_BATCH", "to_model"]

MAX_BATCH = 1 << 16

_FIELDS = frozenset({"name", "layers", "outputs", "references", "metadata", "images"})
"""Of a network; the product that it was trained for must be ``post-split``."""

_IR_VERSION = 8
"""Of files with operators of opset 18."""


def to_model(network: IntegerNetwork, dialect: Dialect, batch_size: int = 1) -> onnx.ModelProto:
    """Write an integer network as a graph that computes the same integers.

    Its input ``pixels`` is uint8 (N, C, H, W), or the narrowest type that the network's integers
    fit. Class scores are made as (N, classes), with ``classes`` (N) besides; other outputs as they
    are, (N, C, H, W). Each layer's map is a tensor of the layer's name. An underscore follows the
    names of input and outputs where a layer has such a name.

    Parameters
    ----------
    network : IntegerNetwork
    dialect : Dialect
        ONNX or QONNX.
    batch_size : int
        Number of images, where the graph says it.

    Raises
    ------
    InputError
        If something in the network has no form in the dialect.
    """
    check_range("batch size", batch_size, 1, MAX_BATCH)
    check_known(network.name, network, _FIELDS)
    maps = network.feature_maps()
    taken = set(maps)
    pixels = _free("pixels", taken)
    graph = GraphWriter()
    writing = Writing(graph=graph, dialect=dialect, maps=maps, pixels=pixels)
    for layer in network.layers:
        write_layer(writing, layer)
    graph.enter("")
    images = batch_size if dialect.fixed_batch else "N"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dialect.dtype))
    names = {output.name: _free(output.name, taken) for output in network.outputs}
    outputs = []
    for output in network.outputs:
        shape: tuple[int, ...] = maps[output.layer].shape
        if output.is_scores:
            shape = shape[:1]
            graph.op("Flatten", output.layer, output=names[output.name], axis=1)
        else:
            graph.op("Identity", output.layer, output=names[output.name])
        outputs.append(helper.make_tensor_value_info(names[output.name], kind, (images, *shape)))
    if network.scores is not None:
        classes = _free("classes", taken)
        real = graph.cast(names[network.scores.name], np.float32)
        graph.op("ArgMax", real, output=classes, axis=1, keepdims=0)
        outputs.append(helper.make_tensor_value_info(classes, TensorProto.INT64, (images,)))
    integers = helper.np_dtype_to_tensor_dtype(network.input.integers.dtype)
    given = helper.make_tensor_value_info(pixels, integers, (images, *network.image_shape))
    made = helper.make_graph(graph.nodes, network.name, [given], outputs, graph.constants)
    model = helper.make_model(
        made,
        producer_name="asq-hw",
        producer_version=asq_hw.__version__,
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid(*pair) for pair in dialect.domains.items()],
    )
    helper.set_model_props(model, _properties(network))
    _describe_tensors(model, dialect)
    return model


def _free(name: str, taken: set[str]) -> str:
    """A name that nothing has yet; it is taken then."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _properties(network: IntegerNetwork) -> dict[str, str]:
    """What a person wants to know of the network, by key."""
    images = network.images
    known = {} if images is None else {"mean": images.mean, "std": images.std}
    classes = {"classes": list(network.classes)} if network.classes else {}
    values = {**known, **classes}
    return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def _describe_tensors(model: onnx.ModelProto, dialect: Dialect) -> None:
    """Tell type and shape of every tensor, which some readers do not find out themselves."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if node.domain:  # what they make is like what they are given
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output, name=node.name))
    inferred = shape_inference.infer_shapes(plain, check_type=True, strict_mode=True)
    model.graph.value_info.extend(inferred.graph.value_info)
