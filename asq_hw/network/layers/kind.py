"""What every layer kind declares: its name, its fields in a model file, its output, its bounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum, auto
from functools import cache
from typing import Annotated, ClassVar, get_args, get_origin, get_type_hints

from asq_hw.network.feature_map import FeatureMap
from asq_hw.numbers.products import Product

__all__ = ["Form", "LayerKind", "Stored"]


class Form(Enum):
    """How a field's value stands in a model file: as JSON, or as a tensor of the layer's."""

    SOURCE = auto()
    """The name of the one map that is read, as a list."""
    SOURCES = auto()
    """The names of all maps that are read."""
    INTEGER = auto()
    BOOLEAN = auto()
    OPTIONAL_INTEGER = auto()
    """An integer or null."""
    PAIR = auto()
    """Two integers: height and width."""
    FORMAT = auto()
    """A `FeatureFormat`."""
    WEIGHT_GRID = auto()
    QUANTIZER = auto()
    """An `ActivationQuantizer`, with the tensors of its adapter."""
    WEIGHT_CODES = auto()
    """A tensor U8 with as many dimensions as the kind's `weight_rank`."""
    VECTOR16 = auto()
    """A tensor I16 with one dimension."""
    VECTOR32 = auto()
    """A tensor I32 with one dimension."""
    MATRIX32 = auto()
    """A tensor I32 with two dimensions."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Marks a field that a model file holds: ``Annotated[int, Stored("shift", Form.INTEGER)]``.

    `key` names it in the file: a field of the layer's JSON object, or the last part of its
    tensor's name. Where `since` is given, files have the field from that version on, and only where
    its value is not the default.
    """

    key: str
    form: Form
    since: int | None = None


class LayerKind(ABC):
    """One kind of layer; a subclass is a frozen dataclass that is checked when it is made."""

    __slots__ = ()

    kind: ClassVar[str]
    """Its name in a model file."""
    since: ClassVar[int] = 1
    """The first version of the model file that has it."""
    name: str
    """Of this layer, and of the feature map that it makes."""

    @property
    @abstractmethod
    def source_names(self) -> tuple[str, ...]:
        """Names of the feature maps that it reads."""

    @abstractmethod
    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """Shape and format of its output; InputError if it cannot read such `sources`."""

    @abstractmethod
    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Raise InputError if computing it could leave the executors' integers."""

    def macs(self, output: FeatureMap) -> int:
        """Multiply-accumulates that make one sample's `output`; 0 where there are no weights."""
        del output
        return 0

    def version(self) -> int:
        """The first version of the model file that has the kind and all that this layer is."""
        defaults = self.optional_fields()
        later = [
            stored.since
            for field, stored in self.stored_fields().items()
            if stored.since is not None and getattr(self, field) != defaults[field]
        ]
        return max([self.since, *later])

    @classmethod
    @cache
    def optional_fields(cls) -> Mapping[str, object]:
        """Values of the fields that a file need not have, where it has not got them."""
        stored = cls.stored_fields()
        return {
            field.name: field.default
            for field in fields(cls)  # type: ignore[arg-type]  # every kind is a dataclass
            if field.name in stored and stored[field.name].since is not None
        }

    @classmethod
    def rule(cls) -> str:
        """Name of the contract's rule that its fields obey, such as ``R-max-pool``."""
        return f"R-{cls.kind.replace('_', '-')}"

    @classmethod
    @cache
    def stored_fields(cls) -> Mapping[str, Stored]:
        """How a model file holds each field but the name, in the order of the file."""
        hints = get_type_hints(cls, include_extras=True)
        return {
            field: stored
            for field, hint in hints.items()
            if get_origin(hint) is Annotated
            for stored in get_args(hint)[1:]
            if isinstance(stored, Stored)
        }
