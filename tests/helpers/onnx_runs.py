"""ONNX files run by other people's programs."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_node, execute_onnx

from asq_hw.network.graph import IntegerNetwork

_QONNX_IR_VERSION = 8
"""Of the files that qonnx makes of single nodes; onnx's own latest is too new for its runtime."""

_Session = onnxruntime.InferenceSession


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return _session_of_bytes(model.SerializeToString())


def _session_of_bytes(content: bytes) -> onnxruntime.InferenceSession:
    """On one thread: starting more takes longer than most of what is run here."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return _Session(content, options, providers=["CPUExecutionProvider"])


def run_onnx(
    model: onnx.ModelProto, network: IntegerNetwork, images: NDArray[np.uint8]
) -> dict[str, NDArray[Any]]:
    """Every layer's map by ONNX Runtime, optimized as it likes, and the model's outputs."""
    wanted = {name: info for info in model.graph.value_info for name in [info.name]}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.extend(wanted[layer.name] for layer in network.layers)
    made = session(exposed)
    results = made.run(None, {model.graph.input[0].name: images})
    return dict(zip((output.name for output in made.get_outputs()), results, strict=True))


def run_qonnx(model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Every tensor by the package qonnx."""
    with (
        mock.patch.object(onnx, "IR_VERSION", _QONNX_IR_VERSION),
        mock.patch("qonnx.core.onnx_exec.rt.InferenceSession", _session_of_bytes),
    ):
        found: dict[str, NDArray[Any]] = execute_onnx(
            ModelWrapper(model), inputs, return_full_exec_context=True
        )
    return found


def run_qonnx_nodes(
    model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The same, node by node; its own loop looks through all tensors for each node."""
    infos = {
        one.name: one
        for group in (model.graph.input, model.graph.value_info, model.graph.output)
        for one in group
    }
    context = ModelWrapper(model).make_empty_exec_context() | inputs
    (version,) = (one.version for one in model.opset_import if not one.domain)
    with (
        mock.patch.object(onnx, "IR_VERSION", _QONNX_IR_VERSION),
        mock.patch("qonnx.core.onnx_exec.rt.InferenceSession", _session_of_bytes),
    ):
        for node in model.graph.node:
            alone = onnx.GraphProto()
            alone.value_info.extend(
                infos[name] for name in {*node.input, *node.output} if name in infos
            )
            alone.value_info.extend(
                onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims)
                for one in model.graph.initializer
                if one.name in node.input and one.name not in infos
            )
            execute_node(node, context, alone, version)
    return context


def integers_of(network: IntegerNetwork, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """X of every layer, of the real values that a QONNX file makes."""
    return {
        name: tensors[name].astype(np.float64) * 2.0**made.format.fraction_bits
        for name, made in network.feature_maps().items()
    }
