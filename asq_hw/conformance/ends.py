"""Networks that show what is taken in and given out: other integers than pixels, several maps."""

from __future__ import annotations

from dataclasses import replace

from asq_hw.conformance.builders import codes_for, conv, input_layer, linear, network, quantizer
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, GlobalAveragePool, Relu
from asq_hw.network.outputs import Output

__all__ = ["outputs", "signed_vectors", "unsigned_maps"]


def outputs() -> IntegerNetwork:
    """A map below its ReLU, an early map, one map under two names, and class scores."""
    made = network(
        "outputs",
        input_layer(4, 5, multiplier=[3], offset=[-200], shift=1),
        conv(
            "stem",
            "input",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (3, 1, 3, 3), 4),
            quantizer(4, 40, signed=True),
            padding=(1, 1),
            shift=2,
        ),
        Relu(name="relu", source="stem"),
        Add(name="sum", sources=("stem", "relu")),
        Relu(name="above", source="sum", maximum=300),
        GlobalAveragePool(name="means", source="above", multiplier=3277, shift=16),
        linear(
            "head",
            "means",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (4, 3), 5),
            quantizer(8, 2),
            fraction_bits=3,
        ),
    )
    given = (
        Output(name="boxes", layer="sum"),
        Output(name="logits", layer="head", is_scores=True),
        Output(name="features.0", layer="stem"),
        Output(name="features.1", layer="above"),
        Output(name="again", layer="sum"),
    )
    return replace(made, outputs=given)


def signed_vectors() -> IntegerNetwork:
    """Vectors of signed integers of 12 bits."""
    return network(
        "signed_vectors",
        replace(
            input_layer(1, 1, multiplier=[3, -5, 1], offset=[-7, 0, 900], shift=1),
            bits=12,
            signed=True,
        ),
        linear(
            "head",
            "input",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (4, 3), 6),
            quantizer(6, 90, signed=True),
        ),
    )


def unsigned_maps() -> IntegerNetwork:
    """Maps of unsigned integers of 16 bits, which saturate; a map alone is given out."""
    layer = replace(input_layer(3, 4, multiplier=[3], offset=[-40000], shift=1), bits=16)
    made = network(
        "unsigned_maps",
        layer,
        conv(
            "map",
            "input",
            "uniform 3 packed",
            codes_for("uniform 3 packed", (2, 1, 2, 2), 7),
            quantizer(8, 400, signed=True),
        ),
        GlobalAveragePool(name="mean", source="map", multiplier=10923, shift=16),
    )
    return replace(made, outputs=(Output(name="map", layer="map"),))
