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

_FIELDS = frozenset({"name", "layers", "references", "metadata", "images"})
"""Of a network; the product that it was trained for must be ``post-split``."""

_IR_VERSION = 8
"""Of files with operators of opset 18."""


def to_model(network: IntegerNetwork, dialect: Dialect, batch_size: int = 1) -> onnx.ModelProto:
    """Write an integer network as a graph that computes the same integers.

    Its input ``pixels`` is uint8 (N, C, H, W); it makes ``scores`` (N, classes) and ``classes``
    (N). Each layer's map is a tensor of the layer's name. An underscore follows the first three
    where a layer has such a name.

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
    pixels, scores, classes = (_free(name, maps) for name in ("pixels", "scores", "classes"))
    graph = GraphWriter()
    writing = Writing(graph=graph, dialect=dialect, maps=maps, pixels=pixels)
    for layer in network.layers:
        write_layer(writing, layer)
    graph.enter("")
    flat = graph.op("Flatten", network.output.name, output=scores, axis=1)
    real = graph.cast(flat, np.float32)
    graph.op("ArgMax", real, output=classes, axis=1, keepdims=0)
    images = batch_size if dialect.fixed_batch else "N"
    shape = (images, *network.image_shape)
    count = maps[network.output.name].shape[0]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dialect.dtype))
    made = helper.make_graph(
        graph.nodes,
        network.name,
        [helper.make_tensor_value_info(pixels, TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info(scores, kind, (images, count)),
            helper.make_tensor_value_info(classes, TensorProto.INT64, (images,)),
        ],
        graph.constants,
    )
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


def _free(name: str, taken: object) -> str:
    """A name that no layer has."""
    while name in taken:  # type: ignore[operator]
        name += "_"
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
