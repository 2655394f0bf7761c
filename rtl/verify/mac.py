"""What is proven of multiply-accumulate units: their products, their sums, and the longest sum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from asq_hw.numbers.schemes import APOT
from rtl.design import MacDesign
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.mac_harness import Claim, Harness
from rtl.verify.products import products
from rtl.verify.proofs import Proof, Setup
from rtl.verify.unit import UNIT, Bug

__all__ = ["MacProof", "check_longest_sum"]

_WHOLE_APOT_BITS = 11
"""Operand bits up to which an APoT product is proven at once; above, for each weight code by
itself. Other schemes' products are proven at once at every width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MacProof(Proof):
    """That a multiply-accumulate unit's products are right, or its sums.

    Parameters
    ----------
    design : MacDesign
        The unit.
    claim : Claim
        What is proven of it.
    """

    design: MacDesign
    claim: Claim

    @property
    def name(self) -> str:
        """The claim's."""
        return str(self.claim)

    def setup(self, *, twin: bool) -> Setup:
        """From any state for products, by induction for sums; a twin errs with one pair."""
        harness = Harness(self.design, self.claim, self._bug() if twin else None)
        latency = self.design.latency_cyc
        probes = [
            f"connect -nounset -set {signal.name} \\{UNIT}.{register}"
            for register, signal in harness.probes.items()
        ]
        prepare = [*probes, "opt -full", "opt_clean"]
        match self.claim:
            case Claim.PRODUCT:
                # Without initial values the registers hold anything: the claim is about any state.
                prepare.append("setattr -unset init w:*")
                window = f"-seq {latency + 1} -prove-skip {latency}"
                proof = f"sat {window} -set legal 1 -set rst 0 -prove wrong 0"
                claims = [proof + cut for cut in self._cuts(twin=twin)]
            case Claim.SUM:
                steps = latency + 8
                claims = [f"sat -tempinduct -maxsteps {steps} -set legal 1 -prove wrong 0"]
        return Setup(circuit=harness, ports=harness.ports, prepare=prepare, claims=claims)

    def _cuts(self, *, twin: bool) -> list[str]:
        """Conditions, one for each case that products are cut into; a bug shows in one of them."""
        grid = self.design.weight_grid
        bits = grid.stored_bits + self.design.activation_grid.bits
        if grid.scheme is not APOT or bits <= _WHOLE_APOT_BITS:
            return [""]
        codes = [self._bug().when["weight"]] if twin else list(self.design.weight_codes)
        return [f" -set-at 1 weight {code}" for code in codes]

    def _bug(self) -> Bug:
        """The last pair of weight code and activation, and an activation of another product."""
        table = products(self.design)
        # A weight of 0 has the same product with every activation.
        varied = [(terms != terms[:, :1]).any(axis=1) for terms in table.terms.values()]
        row = int(np.flatnonzero(np.logical_or.reduce(varied))[-1])
        shape = tuple(map(len, self.design.operands.values()))
        terms = [each[row].reshape(shape) for each in table.terms.values()]
        for place, (name, codes) in enumerate(self.design.operands.items()):
            # Of two codes of an activation, the one that this weight meets.
            lines = [np.moveaxis(each, place, 0).reshape(len(codes), -1)[:, -1] for each in terms]
            differs = np.logical_or.reduce([line != line[-1] for line in lines])
            if differs.any():
                when = {name: codes[-1], "weight": int(table.weights[row])}
                return Bug(when=when, instead=codes[int(np.flatnonzero(differs)[-1])])
        raise AssertionError(f"{self.design.name} has products that vary with no operand")


def check_longest_sum(design: MacDesign) -> list[Check]:
    """That the longest sum fits every accumulator by its products, and is the longest that does."""
    return [timed(f"{design.name} overflow", Method.FORMAL, partial(_overflow, design))]


def _overflow(design: MacDesign) -> Outcome:
    """The stated longest sum fits every accumulator; one product more would not fit some."""
    table = products(design)
    length = int(design.parameters["longest_sum"])
    fits, full = True, False
    for port in design.outputs:
        low, high = port.range
        terms = table.exact[port.name]
        smallest, largest = min(0, int(terms.min())), max(0, int(terms.max()))
        fits &= low <= smallest * length and largest * length <= high
        full |= smallest * (length + 1) < low or largest * (length + 1) > high
    return Outcome(
        cases=2 * len(design.outputs),
        passed=fits and full,
        detail=f"sums of {length} products fit, and of {length + 1} do not",
    )
