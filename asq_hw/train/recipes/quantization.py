"""What is quantized in a network, and how: all layers, and single ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import ClassVar

from asq_hw.network.activation import ADAPTER_RATIO
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.products import ProductKind
from asq_hw.numbers.schemes import POST
from asq_hw.train.methods.adapting import ADAPTER_START, AdapterKind, AdapterSettings, StepStart
from asq_hw.train.methods.catalog import (
    ACTIVATION_METHODS,
    ACTIVATION_NAMES,
    EDGE_NAMES,
    LSQ,
    NONE,
    WEIGHT_METHODS,
    WEIGHT_NAMES,
)
from asq_hw.train.recipes.layer_rules import LayerRule
from asq_hw.train.recipes.values import Choices, check_width, choose, require

__all__ = ["CHOICES", "LayerSettings", "Quantization"]

CHOICES: Mapping[str, Choices] = {
    "weights": WEIGHT_NAMES,
    "activations": ACTIVATION_NAMES,
    "edge_weights": EDGE_NAMES,
    "encoding": Encoding,
    "step_start": StepStart,
    "adapter": AdapterKind,
    "product": (ProductKind.POST_SPLIT, ProductKind.POST_DUAL),
}
"""Keys whose values have names; from Python they may be given as plain strings."""

_MOST_RATIO = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSettings:
    """How one layer is quantized.

    Parameters
    ----------
    weights, activations : str
        Methods.
    weight_bits, activation_bits : int
        Width of their codes.
    per_channel : bool
        Whether each output channel learns an alpha (or step) of its own.
    """

    weights: str
    activations: str
    weight_bits: int
    activation_bits: int
    per_channel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How a network is quantized.

    Parameters
    ----------
    weights, activations : str
        Methods (`asq_hw.train.methods.catalog`) of all layers but the first and the last. With
        ``none`` for both the network stays in floating point.
    weight_bits, activation_bits : int
        Width of their codes.
    edge_bits : int
        Width of weights and activations in the first and the last layer, which stay uniform.
    edge_weights : str
        Method of the weights there. A learned step of 8 bits is small, and a clipped weight's
        gradient counts 127 times in its own: it can run away, beyond all weights of its channel.
    encoding : Encoding
        Which levels POT and POST keep.
    per_channel : bool
        Whether each output channel learns an alpha (or step) of its own.
    step_start : StepStart
        Where LSQ's steps of weights and activations start.
    product : ProductKind
        How weights with odd powers of the square root of two multiply: ``post-dual`` quantizes
        the input of their layers twice. The network file names it.
    adapter : AdapterKind
        What ASQ's beta is a function of.
    adapter_start : float
        Deviation of an adapter's last weights at first.
    adapter_ratio : int
        Channels for each hidden value of the paper's adapter.
    adapter_block : str
        Which layers share an adapter: those of one block, which is the beginning of their names, up
        to a dot, that matches this pattern, as ``layer*.*`` does for ``layer1.0.conv2``. The first
        of a block computes beta, and its others take it. Empty: each layer has its own.
    layers : tuple of LayerRule
        Methods and widths of single layers, the first and the last included.
    """

    SUBJECT: ClassVar[str] = ""
    """What messages call a key, before its name."""

    weights: str = NONE
    activations: str = NONE
    weight_bits: int = 4
    activation_bits: int = 4
    edge_bits: int = 8
    edge_weights: str = LSQ
    encoding: Encoding = Encoding.PACKED
    per_channel: bool = False
    step_start: StepStart = StepStart.LSQ
    product: ProductKind = ProductKind.POST_SPLIT
    adapter: AdapterKind = AdapterKind.PAPER
    adapter_start: float = ADAPTER_START
    adapter_ratio: int = ADAPTER_RATIO
    adapter_block: str = ""
    layers: tuple[LayerRule, ...] = ()

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            chosen = choose(f"{self.SUBJECT}{key}", getattr(self, key), choices)
            object.__setattr__(self, key, chosen)
        for key in ("weight_bits", "activation_bits", "edge_bits"):
            check_width(f"{self.SUBJECT}{key}", getattr(self, key))
        self.require(self.adapter_ratio >= 1, "adapter_ratio", "at least 1")
        self.require(self.adapter_ratio <= _MOST_RATIO, "adapter_ratio", f"at most {_MOST_RATIO}")
        self.require(0 <= self.adapter_start < float("inf"), "adapter_start", "at least 0")
        self._require_effect()

    def require(self, holds: bool, key: str, rule: str) -> None:
        """Raise InputError unless a rule holds for a key."""
        require(holds, f"{self.SUBJECT}{key}", getattr(self, key), rule)

    def require_default(self, holds: bool, key: str, where: str) -> None:
        """Refuse a value that is not the default where nothing would come of it."""
        default = next(field.default for field in fields(self) if field.name == key)
        rule = f"{'empty' if default == '' else default} where {where}"
        self.require(holds or getattr(self, key) == default, key, rule)

    def _require_effect(self) -> None:
        """Refuse a key for adapters, or a product, where nothing would come of it."""
        is_post = POST.name in self.weight_names
        self.require_default(is_post, "product", f"weights are {self.weights}")
        uses = [ACTIVATION_METHODS[name] for name in self.activation_names if name != NONE]
        has_adapter = any(use.has_adapter for use in uses)
        for key in ("adapter", "adapter_start", "adapter_ratio", "adapter_block"):
            self.require_default(has_adapter, key, f"activations are {self.activations}")
        is_paper = self.adapter is AdapterKind.PAPER
        self.require_default(is_paper, "adapter_ratio", f"adapter is {self.adapter}")

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The methods of weights, those of single layers included."""
        own = [rule.weights for rule in self.layers if rule.weights is not None]
        return tuple(dict.fromkeys((self.weights, *own)))

    @property
    def activation_names(self) -> tuple[str, ...]:
        """The methods of activations, those of single layers included."""
        own = [rule.activations for rule in self.layers if rule.activations is not None]
        return tuple(dict.fromkeys((self.activations, *own)))

    @property
    def without_integers(self) -> list[str]:
        """Which of the methods have no integer form, for messages; none where nothing is quantized.

        That weights, or activations, stay real is one of them.
        """
        if not self.is_quantized:
            return []
        sides = (
            ("weights", self.weight_names, WEIGHT_METHODS),
            ("activations", self.activation_names, ACTIVATION_METHODS),
        )
        return [
            f"{side} {name}"
            for side, names, uses in sides
            for name in names
            if name not in uses or not uses[name].has_integer_form
        ]

    @property
    def adapters(self) -> AdapterSettings:
        """What adapters are made as."""
        return AdapterSettings(
            kind=self.adapter, start=self.adapter_start, ratio=self.adapter_ratio
        )

    def block_of(self, name: str) -> str | None:
        """The block, by its name, whose layers a layer shares an adapter with; None if none."""
        if not self.adapter_block:
            return None
        parts = name.split(".")
        beginnings = (".".join(parts[:count]) for count in range(1, len(parts)))
        return next((one for one in beginnings if fnmatchcase(one, self.adapter_block)), None)

    @property
    def is_quantized(self) -> bool:
        """Whether any layer is quantized."""
        return {*self.weight_names, *self.activation_names} != {NONE}

    def of_layer(self, name: str, *, is_edge: bool) -> LayerSettings:
        """How a layer is quantized; of several rules that match its name, the last wins.

        Parameters
        ----------
        name : str
            The layer's name.
        is_edge : bool
            Whether it is one of the first or of the last layers.
        """
        settings = LayerSettings(
            weights=_edge(self.weights, self.edge_weights) if is_edge else self.weights,
            activations=_edge(self.activations, LSQ) if is_edge else self.activations,
            weight_bits=self.edge_bits if is_edge else self.weight_bits,
            activation_bits=self.edge_bits if is_edge else self.activation_bits,
            per_channel=self.per_channel or (is_edge and self.weights != NONE),
        )
        for rule in self.layers:
            if rule.matches(name):
                settings = replace(settings, **rule.replaced())  # type: ignore[arg-type]
        return settings


def _edge(method: str, edge: str) -> str:
    return method if method == NONE else edge
