"""Every target that there is: the project's own, and those of the group ``asq_hw.targets``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rtl.registry import Registry
from rtl.targets.ecp5 import ECP5
from rtl.targets.gates import GATES
from rtl.targets.ice40 import ICE40
from rtl.targets.target import Constraints, Router, Target
from rtl.targets.xilinx import XILINX

__all__ = ["DEFAULT_TARGET", "TARGETS", "constraints", "in_words", "routers"]


def _objection(target: Target, others: Sequence[Target]) -> str:
    """Two constraints files of one name cannot stand in one folder."""
    taken = {other.constraints.suffix for other in others if other.constraints}
    if target.constraints and target.constraints.suffix in taken:
        return f"the ending {target.constraints.suffix!r} of its constraints file is taken"
    return ""


TARGETS: Registry[Target] = Registry(
    "target",
    Target,
    group="asq_hw.targets",
    own=(ECP5, ICE40, XILINX, GATES),
    objection=_objection,
)
"""Targets in the order of help texts and tables."""

DEFAULT_TARGET = ECP5


def constraints() -> list[Constraints]:
    """The constraints of every target that has some, by the ending of their file."""
    declared = [target.constraints for target in TARGETS if target.constraints is not None]
    return sorted(declared, key=lambda each: each.suffix)


def routers() -> dict[str, Router]:
    """Every place-and-route program by the distribution that brings it."""
    return {target.router.package: target.router for target in TARGETS if target.router}


def in_words(targets: Iterable[Target]) -> str:
    """Names for a sentence: ``ecp5, ice40 and xilinx``."""
    *first, last = [target.name for target in targets]
    return f"{', '.join(first)} and {last}" if first else last
