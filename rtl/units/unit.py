"""What a kind of unit is: its options, its designs, and how they are shown to be right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TypeVar

import numpy as np

from rtl.design import Design
from rtl.quantizer.of_layer import LayerUnits
from rtl.units.option import Given, Option
from rtl.verify.checks import Check, Method
from rtl.verify.met import Extent, Met, Traced
from rtl.verify.mutation import MUTANTS, mutation
from rtl.verify.of_designs import has_proof, prove_design
from rtl.verify.quantizer import long_run
from rtl.verify.simulation import COSIM_CYCLES

__all__ = ["Effort", "LayerUse", "NetworkUnit", "Rungs", "Unit", "in_order", "of_each"]

_Design = TypeVar("_Design", bound=Design)

Rungs = Mapping[Method, Callable[[], list[Check]]]
"""The checks of some designs, by the rung of the ladder that they stand on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a check does.

    Parameters
    ----------
    operations : int
        Of a long run.
    mutants : int
        Of each design.
    extent : Extent
        Of what a layer's unit meets in its network.
    """

    operations: int = COSIM_CYCLES
    mutants: int = MUTANTS
    extent: Extent = field(default_factory=Extent)


class LayerUse(Enum):
    """Whether a unit may be made for a layer of a network."""

    NEVER = 0
    """It knows no layers."""
    OPTIONAL = 1
    """With a layer its widths follow from that; without one they are options."""
    ALWAYS = 2
    """Its constants are a layer's: the first one that has such a unit, unless one is named."""


class Unit(ABC):
    """A kind of hardware unit, which ``rtl``, ``verify`` and ``synth`` make their commands of.

    Attributes
    ----------
    name : str
        Its command.
    title : str
        What it is, with its article: "a requantizer".
    purpose : str
        What it does, in half a sentence.
    options : sequence of Option
        Of one design.
    verify_options : sequence of Option
        Of the designs to check; those of one design unless a kind says otherwise.
    examples : sequence of str
        Worked examples: command lines of ``asq-hw rtl``, ``asq-hw verify`` and ``asq-hw synth``.
    operations : int
        Of a long run, unless another number is asked for.
    layer : LayerUse
        Whether it may be made for a network's layer.
    is_adaptive : bool
        Whether only layers with an adaptive step have one.
    """

    name: str
    title: str
    purpose: str
    options: Sequence[Option] = ()
    examples: Sequence[str] = ()
    operations: int = COSIM_CYCLES
    layer: LayerUse = LayerUse.NEVER
    is_adaptive: bool = False

    @property
    def verify_options(self) -> Sequence[Option]:
        """Of the designs to check."""
        return self.options

    @abstractmethod
    def design(self, given: Given, layer: LayerUnits | None = None) -> Design:
        """The design that was asked for.

        Parameters
        ----------
        given : mapping
            A value for each of `options`.
        layer : LayerUnits, optional
            The layer that it is for.

        Raises
        ------
        InputError
            If there is no such design.
        """

    def designs(self, given: Given, layer: LayerUnits | None = None) -> Sequence[Design]:
        """The designs that `verify_options` ask for; never none."""
        return [self.design(given, layer)]

    def passes_over(self, given: Given, layer: LayerUnits) -> str:
        """Why a layer needs no such unit, where every layer is gone through; empty if it does."""
        return ""

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """What shows that the designs are right.

        Long runs and mutants for every kind, and proofs where the designs have them.

        Parameters
        ----------
        designs : sequence of Design
            What `designs` gave.
        given : mapping
            A value for each of `verify_options`.
        effort : Effort
            How much is done.
        layer : LayerUnits, optional
            The layer that they are for.
        """
        rungs: dict[Method, Callable[[], list[Check]]] = {
            Method.COSIM: lambda: of_each(designs, long_run, operations=effort.operations),
            Method.MUTATION: lambda: mutation(designs, mutants=effort.mutants),
        }
        if all(map(has_proof, designs)):
            rungs[Method.FORMAL] = lambda: of_each(designs, prove_design)
        return rungs


class NetworkUnit(Unit):
    """A kind of unit that may be made for a layer: it is checked on what it meets there, too."""

    @abstractmethod
    def meets(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """What a layer's unit meets: traced tensors, and the ends of what can come.

        Expected values are the traced tensors, wherever one of them answers a row.

        Parameters
        ----------
        units : LayerUnits
            The layer, and the widths that follow from it.
        traced : Traced
            The simulator's tensors of the layer.
        random : Generator
            Draws what else can come.
        """

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """With a layer, what its units meet in their network, too.

        Parameters are those of `Unit.rungs`.
        """
        rungs = dict(super().rungs(designs, given, effort, layer))
        if layer is not None:
            rungs[Method.NETWORK] = lambda: self._in_network(designs, layer, effort.extent)
        return rungs

    def _in_network(
        self, designs: Sequence[Design], layer: LayerUnits, extent: Extent
    ) -> list[Check]:
        from rtl.verify.network import check_in_network  # it compiles the simulator

        return of_each(designs, partial(check_in_network, self.meets), units=layer, extent=extent)


def of_each(
    designs: Sequence[_Design], check: Callable[..., list[Check]], **options: object
) -> list[Check]:
    """The checks of one design after the other."""
    return [made for design in designs for made in check(design, **options)]


def in_order(rungs: Rungs) -> Rungs:
    """The same, from the lowest rung up."""
    return {method: rungs[method] for method in Method if method in rungs}
