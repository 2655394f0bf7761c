"""ONNX files run by other people's programs."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from asq_hw.network.graph import IntegerNetwork

_QONNX_IR_VERSION = 8
"""Of the files that qonnx makes of single nodes; onnx's own latest is too new for its runtime."""


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


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
    with mock.patch.object(onnx, "IR_VERSION", _QONNX_IR_VERSION):
        found: dict[str, NDArray[Any]] = execute_onnx(
            ModelWrapper(model), inputs, return_full_exec_context=True
        )
    return found


def integers_of(network: IntegerNetwork, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """X of every layer, of the real values that a QONNX file makes."""
    return {
        name: tensors[name].astype(np.float64) * 2.0**made.format.fraction_bits
        for name, made in network.feature_maps().items()
    }
