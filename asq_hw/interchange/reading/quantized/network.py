"""A QONNX graph as an integer network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.interchange.reading.folding import folded
from asq_hw.interchange.reading.graph import Constant, Graph, Node
from asq_hw.interchange.reading.quantized.drafts import (
    Draft,
    InputDraft,
    WeightedDraft,
    formats_of,
)
from asq_hw.interchange.reading.quantized.quant import QUANT_OPERATORS, ActivationCodes, quant_of
from asq_hw.interchange.reading.quantized.values import Fixed, Map
from asq_hw.network.graph import RESERVED_NAME, IntegerNetwork
from asq_hw.network.images import ImageSpec
from asq_hw.network.input_format import PIXELS, InputFormat
from asq_hw.network.names import MAX_NAME_LENGTH
from asq_hw.network.outputs import Output, only_scores

__all__ = ["WEIGHTED", "Reading", "to_network"]

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""

MAX_CODE_BITS = 8
"""Of activation codes."""

_MOVED = frozenset({"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze"})
"""Operators that take codes of constants along."""


def to_network(
    graph: Graph,
    *,
    name: str,
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] = (),
    form: InputFormat = PIXELS,
    metadata: Mapping[str, str] | None = None,
) -> IntegerNetwork:
    """Make an integer network of a graph whose maps and weights go through ``Quant`` nodes.

    Parameters
    ----------
    graph : Graph
    name : str
        Of the network.
    mean, std : sequence of float
        By channel: the graph sees ``(pixel / 255 - mean) / std``, or ``(integer * step - mean) /
        std``.
    classes : sequence of str
        What its scores stand for.
    form : InputFormat
        The integers that it takes, with their step.
    metadata : mapping of str to str, optional

    Raises
    ------
    InputError
        If a node has no counterpart; with its name.
    """
    from asq_hw.interchange.reading.quantized.operators import OPERATORS

    if not any(node.operator in WEIGHTED for node in graph.nodes):
        raise InputError("a network must have weights, and this one has none")
    reading = Reading(graph=graph, mean=np.array(mean), std=np.array(std), form=form)
    reading.check_operators(set(OPERATORS))
    for node in graph.nodes:
        reading.add(node, OPERATORS)
    outputs = _outputs(reading)
    formats = formats_of(reading.drafts)
    first = reading.image
    return IntegerNetwork(
        name=name,
        layers=tuple(draft.made(formats) for draft in reading.drafts),
        outputs=outputs,
        metadata=metadata or {},
        images=ImageSpec(
            shape=first.shape,
            mean=tuple(first.mean.tolist()),
            std=tuple(first.std.tolist()),
            classes=tuple(classes),
            format=form,
        ),
    )


def _outputs(reading: Reading) -> tuple[Output, ...]:
    """The maps that the graph gives out; the only one is class scores where it is a vector."""
    found = {}
    for name in reading.graph.outputs:
        value = reading.value(name)
        if isinstance(value, Fixed):
            raise InputError(f"the output {name!r} must not be a constant")
        found[name] = reading.plain(value, f"{name}_codes")
    if len(found) == 1:
        ((name, draft),) = found.items()
        if draft.shape[1:] == (1, 1):
            return only_scores(draft.name)
    return tuple(Output(name=_valid(name), layer=draft.name) for name, draft in found.items())


def _valid(name: str) -> str:
    """An output's name, as like the graph's as may be."""
    words = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "output"
    return (words if not words[0].isdigit() else f"output_{words}")[:MAX_NAME_LENGTH]


@dataclass(slots=True, kw_only=True)
class Reading:
    """What was made of a graph so far.

    Parameters
    ----------
    graph : Graph
    mean, std : float64 array
        By channel.
    form : InputFormat
        The integers of the input.
    """

    graph: Graph
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    form: InputFormat
    drafts: list[Draft] = field(default_factory=list)
    _values: dict[str, Fixed | Map] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)
    _readers: Counter[str] = field(default_factory=Counter)
    _plain: dict[tuple[int, ActivationCodes], Draft] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._readers = Counter(name for node in self.graph.nodes for name in node.inputs)
        self._readers.update(self.graph.outputs)
        for name, array in self.graph.constants.items():
            self._values[name] = Fixed(values=array)
        channels, height, width = (*self.graph.shape, 1, 1)[:3]
        image = InputDraft(
            name=self.free_name(self.graph.image),
            shape=(channels, height, width),
            mean=self.mean,
            std=self.std,
            form=self.form,
        )
        self.drafts.append(image)
        rank = 1 + len(self.graph.shape)
        self._values[self.graph.image] = Map(draft=image, codes=None, rank=rank)

    @property
    def image(self) -> InputDraft:
        """The input."""
        first = self.drafts[0]
        assert isinstance(first, InputDraft)
        return first

    def check_operators(self, known: set[str]) -> None:
        """Refuse every operator at once that has no counterpart."""
        computed = {self.graph.image}
        unknown: dict[str, str] = {}
        for node in self.graph.nodes:
            if computed & set(node.inputs):
                computed.update(node.outputs)
                if node.operator not in known:
                    unknown.setdefault(node.operator, node.name)
        if unknown:
            named = ", ".join(f"{kind} ({name})" for kind, name in sorted(unknown.items()))
            raise InputError(f"operators without an integer form: {named}")

    def add(self, node: Node, operators: Mapping[str, object]) -> None:
        """Take one more node."""
        inputs = [self.value(name) if name else None for name in node.inputs]
        if any(isinstance(one, Map) for one in inputs):
            function = operators[node.operator]
            assert callable(function)
            self._values[node.output] = function(self, node, inputs)
            node.check_all_read()
            return
        constants = [one for one in inputs if not isinstance(one, Map)]
        self._values[node.output] = self._folded(node, constants)

    def value(self, name: str) -> Fixed | Map:
        """What a tensor is."""
        if name not in self._values:
            raise InputError(f"{name!r} is a further output of a node, which is not supported")
        return self._values[name]

    def _folded(self, node: Node, inputs: Sequence[Fixed | None]) -> Fixed:
        arrays = [None if one is None else one.values for one in inputs]
        if node.operator in QUANT_OPERATORS:
            fixed = _quantized(node, arrays)
            node.check_all_read()
            return fixed
        made = folded(node, arrays, self.graph)
        if made is None:
            raise node.refused(f"{node.operator} of constants is not computed")
        first = inputs[0] if inputs else None
        if first is None or first.codes is None or node.operator not in _MOVED:
            return Fixed(values=made)
        codes, scales = (
            folded(node, [part, *arrays[1:]], self.graph) for part in (first.codes, first.scales)
        )
        return Fixed(values=made, codes=codes, scales=scales, scheme=first.scheme)

    def free_name(self, wanted: str) -> str:
        """A valid name that no layer has yet."""
        base = re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_")[-(MAX_NAME_LENGTH - 6) :]
        base = base.lstrip("0123456789_") or "layer"
        base = f"{base}_" if base == RESERVED_NAME else base
        while True:
            number = self._names[base]
            self._names[base] += 1
            name = base if number == 0 else f"{base}_{number}"
            if number == 0 or name not in self._names:
                self._names[name] = max(1, self._names[name])
                return name

    def keep(self, draft: Draft) -> Draft:
        """Add a layer."""
        self.drafts.append(draft)
        return draft

    def is_alone(self, draft: Draft) -> bool:
        """Whether one node alone reads a layer's output, under any of its names."""
        names = [
            name
            for name, value in self._values.items()
            if isinstance(value, Map) and value.draft is draft
        ]
        return all(self._readers[name] == 1 for name in names)

    def plain(self, value: Map, name: str) -> Draft:
        """A layer whose output is a map itself, not only what is read of it in codes."""
        if value.codes is None:
            return value.draft
        key = (id(value.draft), value.codes)
        if key not in self._plain:
            self._plain[key] = self.keep(self._requantized(value, name))
        return self._plain[key]

    def _requantized(self, value: Map, name: str) -> Draft:
        """A map's codes times their scale: a convolution of each channel with 1."""
        assert value.codes is not None
        channels = value.draft.shape[0]
        return WeightedDraft(
            name=self.free_name(name),
            sources=(value.draft,),
            shape=value.draft.shape,
            codes=value.codes,
            weights=np.ones((channels, 1, 1, 1), dtype=np.int64),
            factor=np.full(channels, value.codes.scale),
            offset=np.zeros(channels),
            groups=channels,
        )

    def codes_of(self, node: Node, value: Map) -> ActivationCodes:
        """The codes that a map is read in by weights.

        Raises
        ------
        InputError
            If no ``Quant`` node says them.
        """
        if value.codes is not None:
            return value.codes
        if value.draft is self.image and (pixels := _pixel_codes(self.image)) is not None:
            return pixels
        raise node.refused(
            f"{node.operator} reads a map that went through no Quant node: codes of "
            "at most 8 bits are needed"
        )


def _quantized(node: Node, arrays: Sequence[Constant | None]) -> Fixed:
    quant = quant_of(node, arrays[1:])
    if (values := arrays[0]) is None or values.dtype.kind != "f":
        raise node.refused("what is quantized must be floating point")
    try:
        scales = np.broadcast_to(quant.scale, values.shape)
    except ValueError:
        raise node.refused(f"a scale of {quant.scale.shape} does not fit {values.shape}") from None
    codes = quant.codes(values)
    real = (codes * scales).astype(np.float32)
    return Fixed(values=real, codes=codes, scales=scales, scheme=quant.scheme)


def _pixel_codes(image: InputDraft) -> ActivationCodes | None:
    """Pixels as codes, where they are multiples of one scale, and codes of at most 8 bits."""
    form = image.form
    if image.mean.any() or np.ptp(image.std) or form.bits > MAX_CODE_BITS:
        return None
    assert form.step is not None
    scale = form.step / Fraction(float(image.std[0]))
    return ActivationCodes(scale=float(scale), bits=form.bits, signed=form.signed)
