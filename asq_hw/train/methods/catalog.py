"""The quantization methods there are, each declared once, in the order of the documents."""

from __future__ import annotations

from collections.abc import Mapping

from asq_hw.numbers.schemes import APOT, POST, POT, Scheme
from asq_hw.train.methods.method import Method, Use

__all__ = [
    "ACTIVATION_METHODS",
    "ACTIVATION_NAMES",
    "EDGE_NAMES",
    "LSQ",
    "METHODS",
    "MIN_MAX",
    "NONE",
    "WEIGHT_METHODS",
    "WEIGHT_NAMES",
    "exportable",
]

NONE = "none"
"""What recipes call no method: weights, or activations, stay real."""
LSQ = "lsq"
"""What the inputs of the first and the last layer are quantized by."""
MIN_MAX = "min-max"


def _of_scheme(scheme: Scheme, levels: str, source: str) -> Method:
    """Weights on a scheme's grids, with a learned alpha."""
    maker = "level_grids:weight_quantizer"
    return Method(
        name=scheme.name,
        title=scheme.title,
        levels=levels,
        source=source,
        weights=Use(maker=maker, has_integer_form=True, scheme=scheme),
    )


METHODS = (
    Method(
        name="lsq",
        title="LSQ",
        levels="uniform, learned step",
        source="arXiv:1902.08153",
        weights=Use(maker="lsq:weight_quantizer", has_integer_form=True),
        activations=Use(maker="lsq:activation_quantizer", has_integer_form=True),
    ),
    Method(
        name="symmetric",
        title="LSQ, symmetric",
        levels="uniform without the lowest level, learned step",
        source="arXiv:1902.08153, narrow range",
        weights=Use(maker="symmetric:weight_quantizer", has_integer_form=True),
    ),
    Method(
        name=MIN_MAX,
        title="min-max",
        levels="uniform, the least step that clips nothing",
        source="arXiv:1712.05877",
        weights=Use(maker="min_max:weight_quantizer", has_integer_form=True),
    ),
    Method(
        name="lsq+",
        title="LSQ+",
        levels="uniform, learned step and, for activations, offset",
        source="arXiv:2004.09576",
        weights=Use(maker="lsq_plus:weight_quantizer", has_integer_form=True),
        activations=Use(maker="lsq_plus:activation_quantizer", has_integer_form=False),
    ),
    Method(
        name="asq",
        title="ASQ",
        levels="uniform, step adapted to each sample",
        source="the paper, Eq. 4-9",
        activations=Use(
            maker="asq:activation_quantizer",
            has_integer_form=True,
            learns_factor=True,
            has_adapter=True,
        ),
    ),
    Method(
        name="asq-constant",
        title="ASQ with a constant beta",
        levels="uniform, step times one learned factor",
        source="ASQ's control",
        activations=Use(
            maker="constant_beta:activation_quantizer", has_integer_form=True, learns_factor=True
        ),
    ),
    Method(
        name="shared-exponent",
        title="shared exponent",
        levels="uniform, step a power of two from each sample's maximum",
        source="OCP MX 1.0",
        activations=Use(maker="shared_exponent:activation_quantizer", has_integer_form=True),
    ),
    Method(
        name="pact",
        title="PACT",
        levels="uniform, learned clip",
        source="arXiv:1805.06085",
        activations=Use(maker="pact:activation_quantizer", has_integer_form=True),
    ),
    Method(
        name="dorefa",
        title="DoReFa",
        levels="uniform in [-1, 1], weights through tanh and stored in one bit more",
        source="arXiv:1606.06160",
        weights=Use(maker="dorefa:weight_quantizer", has_integer_form=True),
        activations=Use(maker="dorefa:activation_quantizer", has_integer_form=True),
    ),
    _of_scheme(POT, "powers of two", "the paper, Eq. 3"),
    _of_scheme(POST, "powers of the square root of two", "the paper, Eq. 17"),
    _of_scheme(APOT, "sums of powers of two", "arXiv:1909.13144"),
    Method(
        name="lq-net",
        title="LQ-Net",
        levels="sums of a learned basis",
        source="arXiv:1807.10029",
        weights=Use(maker="lq_net:weight_quantizer", has_integer_form=False),
        activations=Use(maker="lq_net:activation_quantizer", has_integer_form=False),
    ),
    Method(
        name="qil",
        title="QIL",
        levels="uniform on a learned interval, what lies below it is zero",
        source="arXiv:1808.05779",
        weights=Use(maker="qil:weight_quantizer", has_integer_form=True),
        activations=Use(maker="qil:activation_quantizer", has_integer_form=False),
    ),
    Method(
        name="dsq",
        title="DSQ",
        levels="uniform, gradients of a staircase of tanh",
        source="arXiv:1908.05033",
        weights=Use(maker="dsq:weight_quantizer", has_integer_form=True),
        activations=Use(maker="dsq:activation_quantizer", has_integer_form=True),
    ),
    Method(
        name="daq",
        title="DAQ",
        levels="uniform, gradients of a soft argmax of distances",
        source="arXiv:2108.06983",
        weights=Use(maker="daq:weight_quantizer", has_integer_form=True),
        activations=Use(maker="daq:activation_quantizer", has_integer_form=True),
    ),
)

WEIGHT_METHODS = {method.name: method.weights for method in METHODS if method.weights}
"""How weights can be quantized, by name."""
ACTIVATION_METHODS = {method.name: method.activations for method in METHODS if method.activations}
"""How activations can be quantized, by name."""

EDGE_NAMES = (LSQ, MIN_MAX)
"""How the weights of the first and the last layer can be quantized."""
WEIGHT_NAMES, ACTIVATION_NAMES = (NONE, *WEIGHT_METHODS), (NONE, *ACTIVATION_METHODS)
"""What a recipe can say of each."""


def exportable(methods: Mapping[str, Use]) -> list[str]:
    """The names of those methods that have an integer form."""
    return [name for name, use in methods.items() if use.has_integer_form]
