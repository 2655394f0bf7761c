"""``rtl``, ``verify`` and ``synth``: a command for each kind of unit that is registered.

The commands are made when one of them, or the help, is asked for: to know the units is to load
Amaranth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        self._make()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a unit; None if there is no such unit."""
        from rtl.units.registry import UNITS

        self._make(asked_for=cmd_name)
        if cmd_name in UNITS.problems and cmd_name not in self.commands:
            raise InputError(UNITS.problems[cmd_name])
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help with the examples of all units."""
        self.epilog = examples(unit_examples(self.verb_name))
        super().format_help(ctx, formatter)

    def _make(self, asked_for: str = "") -> None:
        """Make the commands, once, and name what cannot be used."""
        from rtl.targets.registry import TARGETS
        from rtl.units.registry import UNITS

        if self.commands:
            return
        for unit in UNITS:
            self.add_command(_command(self.verb_name, unit))
        for name, problem in (*UNITS.problems.items(), *TARGETS.problems.items()):
            if name != asked_for:
                warn(problem)


def _command(verb: str, unit: Unit) -> Any:
    does = VERBS[verb]
    return make_command(
        partial(does.run, unit),
        unit.name,
        does.help(unit),
        does.parameters(unit),
        _examples(verb, unit),
    )
