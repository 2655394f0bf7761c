"""The ``asq-hw`` program: parse, call, print.

Exit status: 0 done; 1 a check, a tool, a cluster or the disk failed; 2 bad input, with one line on
standard error; 70 a bug of ours; 130 interrupted; 141 the reader of standard output went away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Sequence

from asq_hw.errors import ExternalToolError, InputError, StorageError

__all__ = ["main"]

FAILED = 1
BAD_INPUT = 2
OUR_BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

DEBUG_VARIABLE = "ASQ_HW_DEBUG"
"""Environment variable that shows where in the program a bug is."""

_ABOUT_THE_PATH = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EEXIST,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ENXIO,
    }
)
"""Errors of the system that another name on the command line would mend."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the program's name; `sys.argv` by default.

    Returns
    -------
    int
        The exit status. Nothing leaves as an exception: what nothing else has caught is a bug of
        ours, and ends in one line that asks for a report.
    """
    _print_anything()
    if sys.stdout is None:  # and the next file that is opened would take its number
        return _complain("error: standard output is closed", FAILED)
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except (BrokenPipeError, SystemExit):  # the second is how Rich reports the first
        _discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _leave(_complain("interrupted", INTERRUPTED))
    except InputError as error:
        return _complain(f"error: {error}", BAD_INPUT)
    except (ExternalToolError, StorageError) as error:
        return _complain(f"error: {error}", FAILED)
    except OSError as error:
        where = f"{_name(error.filename)}: " if error.filename else ""
        status = BAD_INPUT if error.errno in _ABOUT_THE_PATH else FAILED
        return _complain(f"error: {where}{error.strerror or error or type(error).__name__}", status)
    except MemoryError:
        return _complain("error: there is not enough memory", FAILED)
    except BaseException as error:
        return _complain_of_ourselves(error)


def _print_anything() -> None:
    """Let no character stop a result: what a stream cannot hold is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # closed, or in memory
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if sys.stderr is None:  # it was closed before we were started
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as we live


def _complain_of_ourselves(error: BaseException) -> int:
    """Say in one line what nothing has caught, and where; all of it where that is wished."""
    if os.environ.get(DEBUG_VARIABLE):
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    with contextlib.suppress(Exception):
        return _complain(
            f"bug: {type(error).__name__}{place}: {error}; please report it, with the command "
            f"and what {DEBUG_VARIABLE}=1 shows",
            OUR_BUG,
        )
    return OUR_BUG


def _name(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, str | bytes) else str(filename)


def _leave(status: int) -> int:
    """Return the status; end the process where a compiler still works in a thread.

    It cannot be stopped, and Python must not be taken down under it.
    """
    compiler = sys.modules.get("asq_hw.compiler")
    if compiler is not None and compiler.is_compiling():
        sys.stdout.flush()
        os._exit(status)
    return status


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
        sys.stdout.flush()
    except typer.Exit as leaving:
        sys.stdout.flush()
        return leaving.exit_code
    except typer.TyperException as error:
        raise InputError(error.format_message()) from error
    return 0


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse an empty string: no option takes one, and as a path it would be the working folder."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument == "" or (argument.startswith("--") and argument.endswith("=")):
            where = argument or before or "the first argument"
            raise InputError(f"{where} must not be followed by an empty string")


def _discard_output() -> None:
    """Let the interpreter write what is left to nowhere when it ends, rather than complain."""
    with contextlib.suppress(OSError, ValueError):  # a stream in memory has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, status: int) -> int:
    """Print one line, whatever was in the message, and pass the status on."""
    with contextlib.suppress(OSError, ValueError):
        print("asq-hw:", _one_line(message), file=sys.stderr, flush=True)
    return status


def _one_line(message: str) -> str:
    """A message without line breaks, and without what a terminal would obey."""
    text = " ".join(message.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
