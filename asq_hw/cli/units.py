"""``rtl``, ``verify`` and ``synth``: a command for each kind of unit that is registered.

The commands are made when one of them, or the help, is asked for: to know the units is to load
Amaranth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from asq_hw.cli.options import examples
from asq_hw.cli.output import warn
from asq_hw.cli.parameters import make_command
from asq_hw.cli.rtl import rtl_help, rtl_parameters, run_rtl
from asq_hw.cli.synth import run_synth, synth_help, synth_parameters
from asq_hw.cli.verify import run_verify, verify_help, verify_parameters
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from rtl.units.unit import Unit

__all__ = ["VERBS", "unit_examples", "unit_group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """What can be done with a unit: a sentence of help, and a unit's help, parameters and work."""

    purpose: str
    help: Callable[[Unit], str]
    parameters: Callable[[Unit], list[Parameter]]
    run: Callable[[Unit, dict[str, Any]], None]


VERBS: Mapping[str, Verb] = {
    "rtl": Verb(
        purpose="Write hardware: a folder with Verilog, test bench, vectors and constraints.",
        help=rtl_help,
        parameters=rtl_parameters,
        run=run_rtl,
    ),
    "verify": Verb(
        purpose="Show that the hardware computes what the simulator does, by simulation and by "
        "proof.",
        help=verify_help,
        parameters=verify_parameters,
        run=run_verify,
    ),
    "synth": Verb(
        purpose="Synthesize, place and route: what hardware costs.",
        help=synth_help,
        parameters=synth_parameters,
        run=run_synth,
    ),
}


def unit_examples(verb: str) -> tuple[str, ...]:
    """Worked examples of a verb, one for each unit that has one."""
    from rtl.units.registry import UNITS

    return tuple(example for unit in UNITS for example in _examples(verb, unit))


def _examples(verb: str, unit: Unit) -> list[str]:
    return [example for example in unit.examples if example.split()[1] == verb]


def unit_group(verb: str) -> typer.Typer:
    """The group of a verb's commands."""

    class Group(_UnitGroup):
        """Commands of this verb."""

        verb_name = verb

    return typer.Typer(cls=Group, help=VERBS[verb].purpose, no_args_is_help=True)


class _UnitGroup(TyperGroup):
    """A command for each unit, made when it is first asked for.

    What a distribution registered and cannot be used is a warning, and an error where it is what
    was asked for.
    """

    verb_name: str

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all units."""
        from rtl.targets.registry import TARGETS

        self._make()
        _warn_of(TARGETS.problems)
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a unit; None if there is no such unit."""
        self._make(asked_for=cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help with the examples of all units."""
        self.epilog = examples(unit_examples(self.verb_name))
        super().format_help(ctx, formatter)

    def _make(self, asked_for: str = "") -> None:
        """Make the commands, once, and name the units that cannot be used."""
        from rtl.units.registry import UNITS

        if self.commands:
            return
        problems = dict(UNITS.problems)
        for unit in UNITS:
            try:
                self.add_command(_command(self.verb_name, unit))
            except Exception as error:  # whatever a stranger has declared
                if unit.name not in UNITS.origins:
                    raise
                origin = UNITS.origins[unit.name]
                problems[unit.name] = UNITS.complaint(unit.name, origin, error)
        _warn_of(problems, but=[asked_for])
        if asked_for in problems and asked_for not in self.commands:
            raise InputError(problems[asked_for])


def _command(verb: str, unit: Unit) -> Any:
    does = VERBS[verb]
    return make_command(
        partial(_run, does, unit),
        unit.name,
        does.help(unit),
        does.parameters(unit),
        _examples(verb, unit),
    )


def _run(does: Verb, unit: Unit, values: dict[str, Any]) -> None:
    """Do a command's work; targets that cannot be used and are not asked for are named first."""
    from rtl.targets.registry import TARGETS

    _warn_of(TARGETS.problems, but=(values.get("target") or "").split(","))
    does.run(unit, values)


def _warn_of(problems: Mapping[str, str], *, but: Sequence[str] = ()) -> None:
    for name, problem in problems.items():
        if name not in but:
            warn(problem)
