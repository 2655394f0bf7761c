"""Commands that are made of declared options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.options import examples, integer
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from rtl.units.option import Option

__all__ = ["Run", "declared", "make_command", "of_option"]

Run = Callable[[dict[str, Any]], None]
"""Does a command's work with the values of its parameters, by their names."""


def declared(name: str, annotation: Any, default: object = Parameter.empty) -> Parameter:
    """A parameter of a command, as a function would declare it."""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def of_option(option: Option) -> Parameter:
    """The parameter that an option is given with.

    Lists and choices are read by `Option.value`, so that a complaint names what may stand there.
    """
    from rtl.units.option import REQUIRED

    number = option.type is int and not option.is_list
    kind: Any = option.type if number or option.type is bool else str
    information = typer.Option(
        *option.flags,
        parser=integer if number else None,
        metavar="" if option.type is bool else option.metavar,
        help=option.help,
    )
    default = Parameter.empty if option.default is REQUIRED else option.default
    return declared(
        option.name, Annotated[kind | None if default is None else kind, information], default
    )


def make_command(
    run: Run, name: str, help: str, parameters: Sequence[Parameter], shown: Sequence[str]
) -> Any:
    """A command of these parameters, with worked examples below its help.

    Parameters
    ----------
    run : callable
        Does the work.
    name : str
        Of the command.
    help : str
        What it says of itself.
    parameters : sequence of Parameter
        Its options.
    shown : sequence of str
        Command lines, the worked examples.

    Raises
    ------
    InputError
        If two parameters have one name.
    """
    _refuse_doubles(name, parameters)

    def call(**values: Any) -> None:
        run(values)

    call.__doc__ = help
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    app.command(name, epilog=examples(shown) if shown else None)(call)
    return typer.main.get_command(app)


def _refuse_doubles(command: str, parameters: Sequence[Parameter]) -> None:
    """Two options of one name: the later one would hide the other."""
    # Typer keeps the first of an annotation's flags where a default would stand.
    names = [
        name
        for parameter in parameters
        for information in parameter.annotation.__metadata__
        for name in (parameter.name, information.default, *(information.param_decls or ()))
        if isinstance(name, str)
    ]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{command} must not have two options of the name {doubled[0]}")
