"""Which layers of a network can be quantized, and what would be passed over."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from asq_hw.errors import InputError
from asq_hw.train.graph.dataflow import function_name, place
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["weighted_nodes"]

_ELEMENTWISE_WEIGHTS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.PReLU,
)
"""Modules whose parameters scale single elements; they stay in floating point in training."""
_CONTRACTIONS = {
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bilinear", "bmm", "chain_matmul", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_tbc",
    "convolution", "_convolution", "dot", "einsum", "embedding", "embedding_bag", "imatmul",
    "inner", "kron", "linear", "matmul", "mm", "multi_dot", "multi_head_attention_forward", "mv",
    "outer", "scaled_dot_product_attention", "sparse_mm", "tensordot", "vdot",
}  # fmt: skip
"""Functions that sum products, as convolution and linear layers do."""
_ELEMENTWISE_FUNCTIONS = {"add", "iadd", "sub", "isub", "mul", "imul", "truediv", "itruediv", "div"}
_DTYPES = (torch.float32, torch.float64)


def weighted_nodes(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[fx.Node]:
    """The calls of torch's own Conv2d and Linear, in execution order.

    Raises
    ------
    InputError
        If anything else multiplies by weights: it would stay in floating point, and another layer
        would be taken for the first or the last one. The message names it and where it stands.
    """
    found = []
    for node in graph.nodes:
        if node.op == "call_module":
            if _is_layer(str(node.target), modules[str(node.target)]):
                found.append(node)
        elif node.op in ("call_function", "call_method"):
            _check_function(node, modules)
    return found


def _is_layer(path: str, module: nn.Module) -> bool:
    if isinstance(module, QuantConv2d | QuantLinear):
        raise InputError(f"layer {path} is quantized already")
    if type(module) in (nn.Conv2d, nn.Linear):
        _check_plain(path, module)
        return True
    if isinstance(module, _ELEMENTWISE_WEIGHTS):
        return False
    lazy = any(isinstance(p, nn.UninitializedParameter) for p in module.parameters())
    if lazy or any(p.dim() > 1 for p in module.parameters()):
        raise InputError(
            f"layer {path}: {type(module).__name__} cannot be quantized; "
            "only torch's own Conv2d and Linear can"
        )
    return False


def _check_plain(path: str, module: nn.Module) -> None:
    """Make sure that the weights are a parameter, and not computed from others at each call."""
    names = [name for name, value in module._parameters.items() if value is not None]
    extra = [name for name in names if name not in ("weight", "bias")]
    extra += [*module._buffers, *module._modules]
    if extra or "weight" not in names:
        raise InputError(
            f"layer {path}: its weights are computed from {', '.join(extra) or 'others'}; remove "
            "weight norm, spectral norm, pruning or parametrizations before quantizing"
        )
    dtype = module._parameters["weight"].dtype  # type: ignore[union-attr]  # it is in names
    if dtype not in _DTYPES:
        raise InputError(f"layer {path}: weights must be float32 or float64, not {dtype}")


def _check_function(node: fx.Node, modules: dict[str, nn.Module]) -> None:
    name = function_name(node.target)
    weights = [
        source.target
        for source in node.all_input_nodes
        if source.op == "get_attr" and _is_weight(modules[""], str(source.target))
    ]
    if name not in _CONTRACTIONS and (not weights or name in _ELEMENTWISE_FUNCTIONS):
        return
    owner = place(node, "").removesuffix(".")
    kind = type(modules.get(owner, modules[""])).__name__
    raise InputError(
        f"{place(node, node.name)}: {kind} calls {name} itself, which cannot be quantized; "
        "only torch's own Conv2d and Linear can"
    )


def _is_weight(model: nn.Module, path: str) -> bool:
    value: Any = model
    for part in path.split("."):
        value = getattr(value, part)
    return isinstance(value, nn.Parameter) and value.dim() > 1
