"""What a quantization method is: one declaration, which loads its quantizers when asked to.

Nothing here needs torch: recipes and the command line's help read the declarations too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM, Scheme
from asq_hw.train.methods.adapting import AdapterSettings, StepStart

__all__ = ["ActivationSettings", "Method", "Use", "WeightSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSettings:
    """What a quantizer of a layer's weights is made for.

    Parameters
    ----------
    bits : int
        Width of the codes.
    encoding : Encoding
        Which levels POT and POST keep.
    per_channel : bool
        Whether each output channel learns a scale of its own.
    step_start : StepStart
        Where LSQ's step starts.
    """

    bits: int
    encoding: Encoding
    per_channel: bool
    step_start: StepStart = StepStart.LSQ

    @property
    def uniform_grid(self) -> Grid:
        """The grid of integers of that width."""
        return Grid(scheme=UNIFORM, bits=self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSettings:
    """What a quantizer of a layer's input is made for.

    Parameters
    ----------
    channels : int
        Channels of the input.
    bits : int
        Width of the codes.
    signed : bool
        Whether the input can be negative.
    step_start : StepStart
        Where LSQ's step starts.
    adapter : AdapterSettings
        What ASQ's adapter is made as.
    """

    channels: int
    bits: int
    signed: bool
    step_start: StepStart = StepStart.LSQ
    adapter: AdapterSettings = field(default_factory=AdapterSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A method on one side of a layer, its weights or its input.

    Parameters
    ----------
    maker : str
        ``module:function`` below `asq_hw.train.methods`: what makes the quantizer, for weights
        from ``(weight, WeightSettings)``, for activations from ``(ActivationSettings,)``.
    has_integer_form : bool
        Whether a layer quantized so becomes integers exactly, and can be exported.
    scheme : Scheme or None
        Whose levels they are, where one maker serves several schemes; its first argument.
    learns_factor : bool
        Whether a factor on the step is learned beside it.
    has_adapter : bool
        Whether an adapter gives that factor.
    """

    maker: str
    has_integer_form: bool
    scheme: Scheme | None = None
    learns_factor: bool = False
    has_adapter: bool = False

    def load(self) -> Callable[..., Any]:
        """Import and return the maker."""
        module, function = self.maker.split(":")
        made: Callable[..., Any] = getattr(import_module(f"{__package__}.{module}"), function)
        return made if self.scheme is None else partial(made, self.scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A quantization method.

    Parameters
    ----------
    name : str
        What recipes call it.
    title : str
        What papers call it.
    levels : str
        What its levels are, in a few words.
    source : str
        Where it was published.
    weights, activations : Use or None
        Where it applies.
    """

    name: str
    title: str
    levels: str
    source: str
    weights: Use | None = None
    activations: Use | None = None
