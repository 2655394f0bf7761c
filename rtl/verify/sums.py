"""That sums made of a chip's cells are the portable ones, for all inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from amaranth.hdl import Elaboratable, Module, Mux, Signal, Value

from rtl.lib.cells import Cells
from rtl.lib.sums import add_chosen, add_inverted, add_or_subtract, once_or_twice
from rtl.verify.checks import Check, Method, timed
from rtl.verify.proofs import Proof, Setup, check_proof

__all__ = ["Form", "SumProof", "check_cells"]


class Form(StrEnum):
    """What is done in front of an adder."""

    CHOSEN = "chosen"
    """One of two words is added."""
    SHIFTED = "shifted"
    """A word is added as it is, or shifted by one."""
    SIGNED = "signed"
    """A word is added or subtracted."""
    INVERTED = "inverted"
    """Two words are added, each as it is or inverted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumProof(Proof):
    """That a sum of a form is the same on cells as in portable Verilog.

    Parameters
    ----------
    cells : Cells
        The cells; the proof reads their `Cells.model`.
    form : Form
        What stands in front of the adder.
    width : int
        Bits of the sum.
    """

    cells: Cells
    form: Form
    width: int

    @property
    def name(self) -> str:
        """The form's."""
        return str(self.form)

    def setup(self, *, twin: bool) -> Setup:
        """Both side by side; a twin's portable sum errs by one with one set of operands."""
        harness = _Harness(self, twin=twin)
        return Setup(
            circuit=harness,
            ports=harness.ports,
            prepare=["opt -full", "opt_clean"],
            claims=["sat -prove wrong 0"],
        )


def check_cells(cells: Cells, width: int) -> list[Check]:
    """Every form of sum on cells is the portable one, at a width; each proof has a twin."""
    return [
        timed(
            f"{cells} sum of {width} bits, {form}",
            Method.FORMAL,
            partial(check_proof, SumProof(cells=cells, form=form, width=width), cells.model),
        )
        for form in Form
    ]


class _Harness(Elaboratable):
    """Operands as ports, and whether the two sums differ."""

    def __init__(self, proof: SumProof, *, twin: bool) -> None:
        self._proof = proof
        self._twin = twin
        self._base, self._one, self._other = (
            Signal(proof.width, name=name) for name in ("base", "one", "other")
        )
        self._chosen, self._carry, self._wrong = (
            Signal(name=name) for name in ("chosen", "carry", "wrong")
        )

    @property
    def ports(self) -> list[Signal]:
        """Operands, and ``wrong``."""
        return [self._base, self._one, self._other, self._chosen, self._carry, self._wrong]

    def elaborate(self, platform: object) -> Module:
        """Make both sums and compare them."""
        m = Module()
        on_cells = self._sum(m, self._proof.cells, "on_cells")
        portable = self._sum(m, None, "portable")
        shows = (self._base == 1) & (self._one == 2) & self._chosen & self._carry
        m.d.comb += self._wrong.eq(on_cells != (portable ^ Mux(shows, int(self._twin), 0)))
        return m

    def _sum(self, m: Module, cells: Cells | None, name: str) -> Value:
        total = Signal(self._proof.width, name=name)
        if self._proof.form is Form.INVERTED:
            # One bit narrower: what stands above a word is not inverted.
            words, inverts = (self._base[:-1], self._one), (self._chosen, self._carry)
            made = add_inverted(m, cells, words, inverts, len(total), f"{name}_chain")
            m.d.comb += total.eq(made)
            return total
        make: Callable[..., Value]
        match self._proof.form:
            case Form.CHOSEN:
                make, words = add_chosen, (self._other, self._one)
            case Form.SHIFTED:
                # One bit narrower: nothing of the shifted word may be lost unseen.
                word = self._one[:-1].as_signed()
                make, words = add_chosen, once_or_twice(word, self._carry)
            case Form.SIGNED:
                make, words = add_or_subtract, self._one
        m.d.comb += total.eq(
            make(m, cells, self._base, self._chosen, words, self._carry, f"{name}_chain")
        )
        return total
