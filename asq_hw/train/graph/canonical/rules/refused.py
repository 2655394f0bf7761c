"""Operators that are met often and have no integer form, and what to write instead."""

from __future__ import annotations

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.values import Value

__all__ = ["RULES"]

_NORMS = "use batch norm"
_SIZES = "keep to one resolution, or to fewer"
_ATTENTION = "attention is not for integer convolutional networks"
_REMEDIES = {
    **dict.fromkeys(
        ("erf", "exp", "log", "sqrt", "rsqrt", "reciprocal", "sin", "cos"),
        "use an activation such as SiLU, GELU or tanh",
    ),
    **dict.fromkeys(
        ("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm",
         "rms_norm", "local_response_norm"),
        _NORMS,
    ),
    **dict.fromkeys(
        ("upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle", "conv_transpose1d",
         "conv_transpose2d", "conv_transpose3d"),
        _SIZES,
    ),
    **dict.fromkeys(
        ("scaled_dot_product_attention", "_scaled_dot_product_flash_attention", "bmm", "baddbmm",
         "einsum"),
        _ATTENTION,
    ),
    "stack": "use torch.cat along dimension 1",
    **dict.fromkeys(("reflection_pad2d", "replication_pad2d"), "pad with zeros"),
    "embedding": "networks take images",
    "conv1d": "use a Conv2d with a kernel of height 1",
    "conv3d": "use Conv2d",
    "argmax": "return the scores",
}  # fmt: skip


def _refuse(call: Call) -> Value:
    name = call.operator.replace("conv_transpose", "transposed conv")
    raise Refusal(f"{name} has no integer form", _REMEDIES[call.operator])


RULES: dict[str, Rule] = dict.fromkeys(_REMEDIES, _refuse)
