"""The kinds of array: lanes, sums, and the dataflows in which they serve."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from rtl.array.exponents import DualLanes, OrderedLanes, PairLanes, PotLanes
from rtl.array.lanes import PAIR, Lanes
from rtl.array.signs import SignLanes
from rtl.array.sums import InOrder, Levels, Plain, RootLevels, Sums
from rtl.array.tables import ApotLanes, TableLanes
from rtl.array.uniform import Arrangement, MagnitudeLanes, TwosComplementLanes

__all__ = ["ArrayKind", "Dataflow"]


class Dataflow(StrEnum):
    """How activations, weights and sums move."""

    BROADCAST = "broadcast"
    """The activations of a cycle go to all channels; each adds its lanes and keeps its sums."""
    GATHER = "gather"
    """Each channel reads activations of its own choice, and keeps its sums."""
    WEIGHT_STATIONARY = "weight-stationary"
    """Weights stay; activations go to all channels, and sums move from lane to lane."""
    INPUT_STATIONARY = "input-stationary"
    """Activations stay; sums are kept in a memory and come by for their products."""


_ANY_ORDER = tuple(Dataflow)
_ORDERED = (Dataflow.GATHER,)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """What `ArrayKind` says of a kind."""

    heading: str
    lanes: Lanes
    sums: Sums
    dataflows: tuple[Dataflow, ...] = _ANY_ORDER


class ArrayKind(StrEnum):
    """A scheme, and how its products are made and summed.

    Attributes
    ----------
    heading : str
        What tables call it.
    lanes : Lanes
        Codes and products.
    sums : Sums
        What a channel keeps.
    dataflows : tuple of Dataflow
        In which it can be used. One whose weights are ordered needs an order of its own for each
        channel, and so activations of its own.
    """

    heading: str
    lanes: Lanes
    sums: Sums
    dataflows: tuple[Dataflow, ...]

    UNIFORM_15 = (
        "uniform-15",
        _Declared(
            heading="uniform, 15 levels",
            lanes=MagnitudeLanes(Arrangement.PLANES),
            sums=Plain(("sum",)),
        ),
    )
    """Sign and magnitude; summed by the weights' bits."""
    UNIFORM_15_PRODUCTS = (
        "uniform-15-products",
        _Declared(
            heading="uniform, 15 levels, by product",
            lanes=MagnitudeLanes(Arrangement.PRODUCTS),
            sums=Plain(("sum",)),
        ),
    )
    """The same, with a product for each lane."""
    UNIFORM_16 = (
        "uniform-16",
        _Declared(
            heading="uniform, 16 levels",
            lanes=TwosComplementLanes(Arrangement.PLANES),
            sums=Plain(("sum",)),
        ),
    )
    """Two's complement; summed by the weights' bits."""
    POT = ("pot", _Declared(heading="POT", lanes=PotLanes(), sums=Plain(("sum",))))
    """Powers of two."""
    APOT = ("apot", _Declared(heading="APoT", lanes=ApotLanes(), sums=Plain(("sum",))))
    """Sums of two powers of two."""
    POST_LUT = (
        "post-lut",
        _Declared(heading="POST, rounded table", lanes=TableLanes(), sums=Plain(("sum",))),
    )
    """The paper's product; its entries are made once for each activation."""
    POST_PAIR = ("post-pair", _Declared(heading="POST, pair", lanes=PairLanes(), sums=Plain(PAIR)))
    """Exact, in any order: two sums for each channel."""
    POST_DUAL = (
        "post-dual",
        _Declared(heading="POST, dual step", lanes=DualLanes(), sums=Plain(("sum",))),
    )
    """Two codes of each activation, one sum for each channel, in any order."""
    POST_ORDERED = (
        "post-ordered",
        _Declared(
            heading="POST, even powers first",
            lanes=OrderedLanes(),
            sums=InOrder(),
            dataflows=_ORDERED,
        ),
    )
    """Exact; a channel's even powers come before its odd ones."""
    POST_SORTED = (
        "post-sorted",
        _Declared(heading="POST, sorted", lanes=SignLanes(), sums=RootLevels(), dataflows=_ORDERED),
    )
    """Exact; a channel's weights come in the order of their powers, so that nothing is shifted."""
    UNIFORM_SORTED = (
        "uniform-sorted",
        _Declared(heading="uniform, sorted", lanes=SignLanes(), sums=Levels(), dataflows=_ORDERED),
    )
    """A channel's weights come in the order of their magnitudes, so that nothing is multiplied."""

    def __new__(cls, name: str, declared: _Declared | None = None) -> Self:
        """A member is its name, with what is declared of it as attributes."""
        assert declared is not None
        member = str.__new__(cls, name)
        member._value_ = name
        member.heading = declared.heading
        member.lanes = declared.lanes
        member.sums = declared.sums
        member.dataflows = declared.dataflows
        return member

    @property
    def is_uniform(self) -> bool:
        """Whether it is one that others are held against."""
        return self.value.startswith("uniform")

    @property
    def gathers(self) -> bool:
        """Whether each channel needs activations of its own."""
        return Dataflow.BROADCAST not in self.dataflows
