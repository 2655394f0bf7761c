"""The ``asq-hw`` program: parse, call, print.

Exit status: 0 done; 1 a check or a tool failed; 2 bad input, with one line on standard error; 130
interrupted; 141 the reader of standard output went away.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from asq_hw.errors import ExternalToolError, InputError

__all__ = ["main"]

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the program's name; `sys.argv` by default.

    Returns
    -------
    int
        The exit status. Only a bug of ours leaves as an exception.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except (BrokenPipeError, SystemExit):  # the second is how Rich reports the first
        _discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _leave(_complain("interrupted", INTERRUPTED))
    except InputError as error:
        return _complain(f"error: {error}", BAD_INPUT)
    except ExternalToolError as error:
        return _complain(f"error: {error}", FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"error: {where}{error.strerror or error}", BAD_INPUT)


def _leave(status: int) -> int:
    """Return the status; end the process where the simulator's compiler still works in a thread.

    It cannot be stopped, and Python must not be taken down under it.
    """
    simulator = sys.modules.get("asq_hw.sim.jit")
    if simulator is not None and simulator.is_compiling():
        sys.stdout.flush()
        os._exit(status)
    return status


def _run(arguments: list[str]) -> int:
    """Parse and run one command; Typer's own complaints become an InputError."""
    import typer

    from asq_hw.cli.app import app

    command = typer.main.get_command(app)
    try:
        with command.make_context("asq-hw", arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as leaving:
        sys.stdout.flush()
        return leaving.exit_code
    except typer.TyperException as error:
        raise InputError(error.format_message()) from error
    return 0


def _discard_output() -> None:
    """Let the interpreter write what is left to nowhere when it ends, rather than complain."""
    with contextlib.suppress(OSError, ValueError):  # a stream in memory has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, status: int) -> int:
    """Print one line, whatever was in the message, and pass the status on."""
    with contextlib.suppress(OSError):
        print("asq-hw:", " ".join(message.split()), file=sys.stderr, flush=True)
    return status
