"""Networks that show layers, widths and adaptive steps."""

from __future__ import annotations

from dataclasses import replace

from asq_hw.conformance.builders import (
    adapter_stage,
    arbitrary,
    codes_for,
    conv,
    input_layer,
    linear,
    network,
    quantizer,
)
from asq_hw.datasets.cifar import CLASSES as CIFAR10_CLASSES
from asq_hw.network.activation import AdaptiveStep, Step
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Relu,
)
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.numbers.products import ProductKind

__all__ = [
    "adaptive_dual",
    "adaptive_one_stage",
    "adaptive_shared",
    "adaptive_two_stages",
    "color",
    "narrow",
    "plain_layers",
    "residual",
    "wide",
]


def plain_layers() -> IntegerNetwork:
    """Layers without weights, in 8 bits that saturate: ``p`` becomes ``(3p - 301) / 2``."""
    return network(
        "plain_layers",
        input_layer(5, 6, multiplier=[3], offset=[-301], shift=1, bits=8),
        MaxPool(name="max", source="input", kernel_size=(3, 2), stride=(2, 1), padding=(1, 1)),
        AveragePool(
            name="mean",
            source="input",
            kernel_size=(3, 2),
            stride=(2, 1),
            padding=(1, 1),
            multiplier=3,
            shift=4,
        ),
        Add(name="sum", sources=("max", "mean")),
        Relu(name="relu", source="sum"),
        Relu(name="relu6", source="mean", maximum=6),
        Flatten(name="flat", source="relu6"),
        AveragePool(
            name="twice", source="sum", kernel_size=(1, 1), stride=(2, 3), multiplier=2, shift=0
        ),
        Add(name="both", sources=("sum", "relu")),
        GlobalAveragePool(name="scores", source="both", multiplier=6241, shift=17),
    )


def wide() -> IntegerNetwork:
    """Maps of 24 bits, and multipliers, shifts and biases at the ends of their ranges."""
    return network(
        "wide",
        input_layer(3, 4, multiplier=[65793], offset=[-(2**23)], bits=24, fraction_bits=-32),
        conv(
            "conv",
            "input",
            "post 7 packed",
            codes_for("post 7 packed", (4, 1, 2, 2), 6),
            quantizer(8, 65535, signed=True, step_fraction_bits=0),
            multiplier=[-32768, 32767, -1, 0],
            narrow_shift=11,
            shift=35,
            bias=[2**23, -(2**23), 2**31 - 1, -(2**31)],
            bits=24,
            fraction_bits=32,
        ),
        conv(
            "steepest",
            "input",
            "pot 6 zero-free",
            codes_for("pot 6 zero-free", (2, 1, 1, 1), 7),
            quantizer(2, 65535, signed=True, step_fraction_bits=24),
            multiplier=[32767, -32768],
            narrow_shift=3,
            shift=46,
            bits=24,
        ),
        AveragePool(
            name="mean",
            source="conv",
            kernel_size=(2, 3),
            stride=(1, 1),
            multiplier=65535,
            shift=18,
        ),
        GlobalAveragePool(name="scores", source="mean", multiplier=65535, shift=16),
    )


def narrow() -> IntegerNetwork:
    """Maps of 4 bits, which saturate almost everywhere."""
    return network(
        "narrow",
        input_layer(3, 4, multiplier=[-1], offset=[128], shift=3, bits=4),
        conv(
            "conv",
            "input",
            "uniform 2 packed",
            codes_for("uniform 2 packed", (3, 1, 3, 3), 8),
            quantizer(2, 1),
            padding=(1, 1),
            multiplier=[1, -3],
            shift=1,
            bias=[1, -1, 0],
            bits=4,
        ),
        Add(name="twice", sources=("conv", "conv")),
        GlobalAveragePool(name="scores", source="twice", multiplier=2, shift=0),
    )


def adaptive_one_stage() -> IntegerNetwork:
    """A step for each sample, at either end of its range for some; sums of both signs."""
    step = AdaptiveStep(
        pool_multiplier=10923,
        pool_shift=16,
        stages=(adapter_stage([[127]], [4000], multiplier=3, shift=6, minimum=40, maximum=600),),
    )
    return network(
        "adaptive_one_stage",
        input_layer(2, 3, multiplier=[2], offset=[-255]),
        conv(
            "conv",
            "input",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (3, 1, 2, 2), 10),
            quantizer(4, step, signed=True, step_fraction_bits=3),
            multiplier=[700, -900],
            narrow_shift=5,
            shift=9,
        ),
        GlobalAveragePool(name="scores", source="conv", multiplier=1, shift=1),
    )


def adaptive_shared() -> IntegerNetwork:
    """One adapter for three layers, and constants that round and clamp its step."""
    step = AdaptiveStep(
        pool_multiplier=10923,
        pool_shift=16,
        stages=(adapter_stage([[127]], [4000], multiplier=3, shift=6, minimum=40, maximum=600),),
    )
    layers: list[Layer] = [input_layer(2, 3, multiplier=[2], offset=[-255])]
    steps: list[Step] = [
        step,
        SharedAdapterStep(layer="conv0", multiplier=5, shift=1, minimum=1, maximum=65535),
        SharedAdapterStep(layer="conv0", multiplier=40001, shift=18, minimum=9, maximum=80),
    ]
    for number, taken in enumerate(steps):
        layers.append(
            conv(
                f"conv{number}",
                layers[-1].name,
                "uniform 4 packed",
                codes_for("uniform 4 packed", (2, 1 if number == 0 else 2, 1, 1), 31 + number),
                quantizer(4, taken, signed=True, step_fraction_bits=3 - number),
                multiplier=[700, -900],
                narrow_shift=5,
                shift=9,
                bias=[-3, 4],
            )
        )
    layers.append(GlobalAveragePool(name="scores", source="conv2", multiplier=1, shift=1))
    return network("adaptive_shared", *layers)


def adaptive_two_stages() -> IntegerNetwork:
    """Eight channels, two hidden values that their ReLU cuts, and a step of the last stage."""
    step = AdaptiveStep(
        pool_multiplier=21845,
        pool_shift=17,
        stages=(
            adapter_stage(
                [arbitrary(11, 8, -128, 127), arbitrary(12, 8, -128, 127)],
                [100, -2000],
                multiplier=181,
                shift=9,
                maximum=30000,
            ),
            adapter_stage([[3, -2]], [9000], multiplier=47, shift=15, minimum=1, maximum=60),
        ),
    )
    return network(
        "adaptive_two_stages",
        input_layer(3, 4, offset=[-100]),
        conv(
            "expand",
            "input",
            "apot 4 packed",
            codes_for("apot 4 packed", (8, 1, 2, 2), 13),
            quantizer(5, 9, signed=True),
            multiplier=[7, -5, 3],
            shift=2,
            bias=[20, -30],
        ),
        conv(
            "conv",
            "expand",
            "post 4 packed",
            codes_for("post 4 packed", (2, 8, 2, 2), 14),
            quantizer(4, step, step_fraction_bits=2),
            multiplier=[300, -200],
            narrow_shift=6,
            shift=5,
        ),
        Flatten(name="flat", source="conv"),
        linear(
            "scores",
            "flat",
            "uniform 8 packed",
            codes_for("uniform 8 packed", (5, 4), 15),
            quantizer(8, 300, signed=True, step_fraction_bits=4),
            multiplier=[3],
            bias=[7, -9],
            shift=5,
        ),
    )


def adaptive_dual() -> IntegerNetwork:
    """The same, trained for two codes of each value."""
    return replace(adaptive_two_stages(), name="adaptive_dual", product=ProductKind.POST_DUAL)


def residual() -> IntegerNetwork:
    """Every layer kind in one chain, with a shortcut, groups, strides and windows of two shapes."""
    return network(
        "residual",
        input_layer(6, 5, multiplier=[514], offset=[-65536], shift=8, fraction_bits=7),
        conv(
            "stem",
            "input",
            "post 4 packed",
            codes_for("post 4 packed", (4, 1, 3, 2), 16),
            quantizer(4, 37, signed=True),
            padding=(1, 1),
            stride=(1, 2),
            multiplier=[1200, 900, -700],
            narrow_shift=4,
            shift=9,
            bias=[11, -7],
            fraction_bits=7,
        ),
        Relu(name="relu", source="stem"),
        conv(
            "depthwise",
            "relu",
            "pot 4 zero-free",
            codes_for("pot 4 zero-free", (4, 1, 3, 3), 17),
            quantizer(4, 21, step_fraction_bits=1),
            padding=(1, 1),
            groups=4,
            multiplier=[300, -260],
            narrow_shift=2,
            shift=14,
            fraction_bits=7,
        ),
        conv(
            "grouped",
            "depthwise",
            "apot 5 packed",
            codes_for("apot 5 packed", (4, 2, 1, 1), 18),
            quantizer(3, 17, signed=True),
            groups=2,
            multiplier=[55, -75],
            shift=8,
            fraction_bits=7,
        ),
        Add(name="sum", sources=("grouped", "relu")),
        Relu(name="relu6", source="sum", maximum=200),
        MaxPool(name="max", source="relu6", kernel_size=(2, 2), stride=(2, 1)),
        AveragePool(
            name="mean", source="max", kernel_size=(2, 1), stride=(1, 1), multiplier=1, shift=1
        ),
        GlobalAveragePool(name="global", source="mean", multiplier=10923, shift=16),
        Flatten(name="flat", source="global"),
        linear(
            "scores",
            "flat",
            "post 4 paper",
            codes_for("post 4 paper", (6, 4), 19),
            quantizer(6, 5),
            multiplier=[31, -17, 8],
            shift=3,
            bias=[0, 100, -100],
        ),
    )


def color() -> IntegerNetwork:
    """Three channels, each with a multiplier and an offset of its own, and classes with names."""
    made = network(
        "color",
        input_layer(
            32,
            32,
            multiplier=[1004, 1057, 956],
            offset=[-125798, -129940, -108861],
            shift=10,
            bits=10,
        ),
        conv(
            "conv",
            "input",
            "uniform 4 packed",
            codes_for("uniform 4 packed", (10, 3, 5, 5), 20),
            quantizer(4, 17, signed=True),
            stride=(8, 8),
            padding=(2, 2),
            multiplier=[9, -7, 5],
            shift=5,
        ),
        GlobalAveragePool(name="scores", source="conv", multiplier=1, shift=4),
    )
    images = ImageSpec(
        shape=made.image_shape,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.004, 0.0038, 0.0042),
        classes=CIFAR10_CLASSES,
    )
    return replace(made, images=images)
