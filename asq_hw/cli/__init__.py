"""The ``asq-hw`` program: parse, call, print.

Exit status: 0 done; 1 a check, a tool, a cluster or the disk failed; 2 bad input, with one line on
standard error; 70 a bug of ours; 130 interrupted; 141 the reader of standard output went away.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from asq_hw.errors import InputError
from asq_hw.guard import guarded

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the program's name; `sys.argv` by default.

    Returns
    -------
    int
        The exit status; nothing leaves as an exception (`asq_hw.guard`).
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    return guarded("asq-hw", lambda: _run(given))


def _run(arguments: list[str]) -> int:
    """Parse and run one command; Typer's own complaints become an InputError."""
    from asq_hw.cli.neighbors import require_own_neighbors

    require_own_neighbors()

    import typer

    from asq_hw.cli.app import app

    _refuse_empty(arguments)
    command = typer.main.get_command(app)
    try:
        with command.make_context("asq-hw", arguments) as context:
            command.invoke(context)
    except typer.Exit as leaving:
        return leaving.exit_code
    except SystemExit as leaving:  # how Rich reports it
        raise BrokenPipeError from leaving
    except typer.TyperException as error:
        raise InputError(error.format_message()) from error
    return 0


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse an empty string: no option takes one, and as a path it would be the working folder."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument == "" or (argument.startswith("--") and argument.endswith("=")):
            where = argument or before or "the first argument"
            raise InputError(f"{where} must not be followed by an empty string")
