"""Which quantization methods there are, where each applies, and which have an integer form.

Nothing here needs torch: recipes and the command line's help read it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ActivationMethod", "MethodInfo", "WeightMethod", "method_table"]


class WeightMethod(StrEnum):
    """How weights are quantized."""

    NONE = "none"
    LSQ = "lsq"
    """Uniform levels with a learned step (the paper's scheme 1)."""
    LSQ_PLUS = "lsq+"
    DOREFA = "dorefa"
    POT = "pot"
    POST = "post"
    """Powers of the square root of two with a learned alpha (the paper's scheme 2)."""
    APOT = "apot"
    LQ_NET = "lq-net"
    QIL = "qil"
    DSQ = "dsq"
    DAQ = "daq"


class ActivationMethod(StrEnum):
    """How activations are quantized."""

    NONE = "none"
    LSQ = "lsq"
    """Uniform levels with a learned step."""
    LSQ_PLUS = "lsq+"
    ASQ = "asq"
    """As LSQ, with the step adapted to each sample (the paper's Eq. 4-6)."""
    PACT = "pact"
    DOREFA = "dorefa"
    LQ_NET = "lq-net"
    QIL = "qil"
    DSQ = "dsq"
    DAQ = "daq"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodInfo:
    """What a method is, and what export can do with it.

    Parameters
    ----------
    name : str
        The value of `WeightMethod` or `ActivationMethod`, or of both.
    levels : str
        What its levels are, in a few words.
    source : str
        Where it was published.
    exports_weights, exports_activations : bool or None
        Whether a layer quantized so becomes integers exactly; None where the method does not
        apply.
    """

    name: str
    levels: str
    source: str
    exports_weights: bool | None = None
    exports_activations: bool | None = None


_METHODS = (
    MethodInfo(
        name="lsq",
        levels="uniform, learned step",
        source="arXiv:1902.08153",
        exports_weights=True,
        exports_activations=True,
    ),
    MethodInfo(
        name="lsq+",
        levels="uniform, learned step and, for activations, offset",
        source="arXiv:2004.09576",
        exports_weights=True,
        exports_activations=False,
    ),
    MethodInfo(
        name="asq",
        levels="uniform, step adapted to each sample",
        source="the paper, Eq. 4-9",
        exports_activations=True,
    ),
    MethodInfo(
        name="pact",
        levels="uniform, learned clip",
        source="arXiv:1805.06085",
        exports_activations=True,
    ),
    MethodInfo(
        name="dorefa",
        levels="uniform in [-1, 1], weights through tanh and stored in one bit more",
        source="arXiv:1606.06160",
        exports_weights=True,
        exports_activations=True,
    ),
    MethodInfo(name="pot", levels="powers of two", source="the paper, Eq. 3", exports_weights=True),
    MethodInfo(
        name="post",
        levels="powers of the square root of two",
        source="the paper, Eq. 17",
        exports_weights=True,
    ),
    MethodInfo(
        name="apot",
        levels="sums of powers of two",
        source="arXiv:1909.13144",
        exports_weights=True,
    ),
    MethodInfo(
        name="lq-net",
        levels="sums of a learned basis",
        source="arXiv:1807.10029",
        exports_weights=False,
        exports_activations=False,
    ),
    MethodInfo(
        name="qil",
        levels="uniform on a learned interval, what lies below it is zero",
        source="arXiv:1808.05779",
        exports_weights=True,
        exports_activations=False,
    ),
    MethodInfo(
        name="dsq",
        levels="uniform, gradients of a staircase of tanh",
        source="arXiv:1908.05033",
        exports_weights=True,
        exports_activations=True,
    ),
    MethodInfo(
        name="daq",
        levels="uniform, gradients of a soft argmax of distances",
        source="arXiv:2108.06983",
        exports_weights=True,
        exports_activations=True,
    ),
)


def method_table() -> tuple[MethodInfo, ...]:
    """Return what is known of every method, in the order of the documents."""
    return _METHODS
