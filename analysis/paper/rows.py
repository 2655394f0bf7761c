"""The rows of the paper's tables, and those beside them: each is one object, and so is a table.

A row that is added here (to a table, with what its differences are taken from) is trained, measured
and printed like the others. A gate is two rows that must agree before a table says anything of a
method.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from asq_hw.errors import InputError

__all__ = ["TABLES", "Gate", "Table", "Variant", "chosen_rows", "chosen_tables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of a table: what quantizes the weights and the activations, and how wide.

    Parameters
    ----------
    label : str
        As the tables print it.
    weights, activations : str
        Methods, by the names that recipes use.
    bits : int
        Width of both.
    settings : tuple of (str, value)
        Other keys of the recipe that make the row.
    suffix : str, optional
        What they are called in its key; by default their own names and values.
    against : tuple of Variant
        The rows that its differences are taken from, what is asked first in front.
    paper_top1 : float, optional
        What the paper prints for its own ResNet-20 on CIFAR-10, in percent.
    """

    label: str
    weights: str
    activations: str
    bits: int = 4
    settings: tuple[tuple[str, object], ...] = ()
    suffix: str | None = None
    against: tuple[Variant, ...] = ()
    paper_top1: float | None = None

    @property
    def methods(self) -> str:
        """Both methods, activations first, in letters that any file's name can have."""
        return f"{self.activations}-{self.weights}".replace("+", "-plus")

    @property
    def key(self) -> str:
        """Short name, of files and in the CSV."""
        if self.weights == self.activations == "none":
            return "real-valued"
        more = "".join(f"-{key.replace('_', '-')}-{value}" for key, value in self.settings)
        return (
            f"{self.methods}-w{self.bits}a{self.bits}{more if self.suffix is None else self.suffix}"
        )

    def overrides(self, seed: int) -> dict[str, object]:
        """What this row replaces in the recipe that all rows share."""
        return {
            "name": f"ablation-{self.key}-seed{seed}",
            "weights": self.weights,
            "activations": self.activations,
            "weight_bits": self.bits,
            "activation_bits": self.bits,
            "seed": seed,
            **dict(self.settings),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Rows that differ in how fast something learns: they tell whether it has converged.

    It has not where a faster one does better. One that does worse is too fast to tell.

    Parameters
    ----------
    about : str
        What nothing can be said of then.
    plain : Variant
        The row that must have converged.
    fast : tuple of Variant
        The same at faster rates.
    """

    about: str
    plain: Variant
    fast: tuple[Variant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that are printed together.

    Parameters
    ----------
    name, title : str
        By which it is asked for, and what stands above it.
    rows : tuple of Variant
        In the order of printing.
    gates : tuple of Gate
        What is printed before it.
    """

    name: str
    title: str
    rows: tuple[Variant, ...]
    gates: tuple[Gate, ...] = ()

    @property
    def trained(self) -> tuple[Variant, ...]:
        """All rows that it needs, its gates' included, each once."""
        gated = (row for gate in self.gates for row in (gate.plain, *gate.fast))
        return tuple({row.key: row for row in (*self.rows, *gated)}.values())


def _widths(
    label: str,
    weights: str,
    activations: str,
    papers: dict[int, float | None],
    *against: dict[int, Variant],
) -> dict[int, Variant]:
    """One row for each width, with what the paper prints for it."""
    return {
        bits: Variant(
            label=label,
            weights=weights,
            activations=activations,
            bits=bits,
            against=tuple(rows[bits] for rows in against),
            paper_top1=top1,
        )
        for bits, top1 in papers.items()
    }


_LSQ = _widths("LSQ", "lsq", "lsq", {2: 91.0, 3: 92.0, 4: 92.4, 8: None})
_APOT = _widths("APoT", "apot", "lsq", {2: 91.0, 3: 92.2, 4: 92.7}, _LSQ)
_CONTROL1 = _widths(
    "control of scheme 1", "lsq", "asq-constant", {2: None, 3: None, 4: None, 8: None}, _LSQ
)
_CONTROL2 = _widths(
    "control of scheme 2", "post", "asq-constant", {2: None, 3: None, 4: None}, _LSQ
)
_SCHEME1 = _widths("scheme 1", "lsq", "asq", {2: 91.2, 3: 91.7, 4: 92.8, 8: None}, _CONTROL1, _LSQ)
_SCHEME2 = _widths("scheme 2", "post", "asq", {2: None, 3: 92.3, 4: 93.0}, _CONTROL2, _LSQ)
_POT = _widths("POT weights", "pot", "lsq", {4: 92.5}, _LSQ)
_POST = _widths("POST weights", "post", "lsq", {4: 92.7}, _LSQ)
_REAL = _widths("real-valued", "none", "none", {4: 92.6}, _LSQ)
# Of the paper's two rows without a name, LSQ's is the one whose 92.4 is Table 5's baseline; the
# other is taken for APoT's. It has no scheme 2 at 2 bits. APoT is of weights here, with the
# activations of LSQ. A control, which the paper does not have, learns a constant in the place of
# the adapter: what ASQ is ahead of it by is what adapting gives.


def _settled(*widths: int) -> tuple[Gate, ...]:
    """The gates of ASQ: the control must have learned its step, however fast that is learned."""
    return tuple(
        Gate(
            about=f"ASQ at {bits} bits",
            plain=_CONTROL1[bits],
            fast=tuple(
                replace(
                    _CONTROL1[bits],
                    label=f"{_CONTROL1[bits].label}, rate x {rate}",
                    settings=(("adapter_rate", rate),),
                )
                for rate in (10, 100)
            ),
        )
        for bits in widths
    )


_TABLE5 = Table(
    name="5",
    title="Table 5: 4 bits",
    rows=(
        replace(_LSQ[4], label="LSQ (baseline)"),
        _POT[4],
        _POST[4],
        _CONTROL1[4],
        replace(_SCHEME1[4], label="ASQ activations (scheme 1)"),
        _CONTROL2[4],
        replace(_SCHEME2[4], label="both (scheme 2)"),
        _REAL[4],
    ),
    gates=_settled(4),
)
"""The paper's six rows, in its order, each scheme behind its control."""

_TABLE4 = Table(
    name="4",
    title="Table 4: 2, 3 and 4 bits",
    rows=tuple(
        kind[bits]
        for bits in (2, 3, 4)
        for kind in (_LSQ, _APOT, _CONTROL1, _SCHEME1, _CONTROL2, _SCHEME2)
    ),
    gates=_settled(2, 3, 4),
)
"""Those of the methods that the paper compares with which are there, its two schemes, and their
controls."""

_EVERY_WIDTH = Table(
    name="widths",
    title="Both schemes from 2 to 8 bits",
    rows=(
        *(_LSQ[2], _CONTROL1[2], _SCHEME1[2]),
        *(_LSQ[3], _CONTROL1[3], _SCHEME1[3], _CONTROL2[3], _SCHEME2[3]),
        *(_LSQ[4], _CONTROL1[4], _SCHEME1[4], _CONTROL2[4], _SCHEME2[4]),
        *(_LSQ[8], _CONTROL1[8], _SCHEME1[8]),
    ),
    gates=_settled(2, 3, 4, 8),
)
"""The two schemes at the paper's widths, and LSQ and their controls to compare with."""

_EACH_BLOCK: tuple[tuple[str, object], ...] = (("adapter_block", "*.*"),)
"""Blocks of every network known by name: names up to their second part, as in layer1.0.conv1."""

_LOG_LINEAR = Variant(
    label="log-linear adapters",
    weights="lsq",
    activations="asq",
    settings=(("adapter", "log-linear"),),
    against=(_CONTROL1[4], _LSQ[4]),
)

_ADAPTERS = Table(
    name="adapters",
    title="What sets the step: 4 bits, LSQ weights",
    rows=(
        _LSQ[4],
        _CONTROL1[4],
        replace(_SCHEME1[4], label="the paper's adapters"),
        *(
            Variant(
                label=f"the paper's adapters, {ratio} channels a hidden value",
                weights="lsq",
                activations="asq",
                settings=(("adapter_ratio", ratio),),
                against=(_CONTROL1[4], _LSQ[4]),
            )
            for ratio in (16, 64)
        ),
        Variant(
            label="the paper's adapters, one for a block",
            weights="lsq",
            activations="asq",
            settings=_EACH_BLOCK,
            suffix="-adapter-block",
            against=(_CONTROL1[4], _LSQ[4]),
        ),
        _LOG_LINEAR,
        replace(
            _LOG_LINEAR,
            label="log-linear adapters, one for a block",
            settings=(*_LOG_LINEAR.settings, *_EACH_BLOCK),
            suffix="-adapter-log-linear-block",
        ),
        replace(
            _LOG_LINEAR,
            label="log-linear adapters, rate x 10",
            settings=(*_LOG_LINEAR.settings, ("adapter_rate", 10)),
        ),
        Variant(
            label="shared exponents (as in MX formats)",
            weights="lsq",
            activations="shared-exponent",
            against=(_CONTROL1[4], _LSQ[4]),
        ),
    ),
    gates=_settled(4),
)
"""Every way of setting a step for each image, and those that set one for all; beyond the paper."""

TABLES = {table.name: table for table in (_TABLE5, _TABLE4, _EVERY_WIDTH, _ADAPTERS)}
"""The tables by name."""


def chosen_tables(names: Iterable[str]) -> list[Table]:
    """Tables by name.

    Raises
    ------
    InputError
        If there is no such table.
    """
    chosen = []
    for name in names:
        if name not in TABLES:
            raise InputError(f"--table must be one of {', '.join(TABLES)}, not {name!r}")
        chosen.append(TABLES[name])
    return chosen


def chosen_rows(tables: Iterable[Table], only: Iterable[str] | None = None) -> list[Variant]:
    """The rows of tables, each once, or those of them that are named by their key.

    Raises
    ------
    InputError
        If no table has a row of that key.
    """
    rows = {row.key: row for table in tables for row in table.trained}
    for key in only or ():
        if key not in rows:
            raise InputError(f"--rows must be of {' '.join(rows)}, not {key!r}")
    return [rows[key] for key in only or rows]
