"""The guard at the door of a program: whatever happens, it ends in one line and a status.

Exit status: 0 done; 1 a check, a tool, a cluster or the disk failed; 2 bad input, with one line on
standard error; 70 a bug of ours; 130 interrupted; 141 the reader of standard output went away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable

from asq_hw.errors import ExternalToolError, InputError, StorageError

__all__ = ["guarded"]

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


def guarded(program: str, work: Callable[[], int | None]) -> int:
    """Do a program's work, and return its exit status.

    Parameters
    ----------
    program : str
        What messages begin with.
    work : callable
        Returns a status, or None for 0. SystemExit, by which argparse ends, goes on to the caller.

    Returns
    -------
    int
        The exit status. Nothing else leaves as an exception: what nothing else has caught is a bug
        of ours, and ends in one line that asks for a report.
    """
    _print_anything()
    if sys.stdout is None:  # and the next file that is opened would take its number
        return _complain(program, "error: standard output is closed", FAILED)
    try:
        return _finish(work)
    except SystemExit:
        raise
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _leave(_complain(program, "interrupted", INTERRUPTED))
    except InputError as error:
        return _complain(program, f"error: {error}", BAD_INPUT)
    except (ExternalToolError, StorageError) as error:
        return _complain(program, f"error: {error}", FAILED)
    except OSError as error:
        status = BAD_INPUT if error.errno in _ABOUT_THE_PATH else FAILED
        return _complain(program, _about_the_system(error), status)
    except MemoryError:
        return _complain(program, "error: there is not enough memory", FAILED)
    except BaseException as error:
        return _complain_of_ourselves(program, error)


def _finish(work: Callable[[], int | None]) -> int:
    """Do the work, and write what it printed while there is somebody to complain to."""
    try:
        status = work()
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status or 0


def _about_the_system(error: OSError) -> str:
    where = f"{_name(error.filename)}: " if error.filename else ""
    return f"error: {where}{error.strerror or error or type(error).__name__}"


def _print_anything() -> None:
    """Let no character stop a result: what a stream cannot hold is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # closed, or in memory
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if sys.stderr is None:  # it was closed before we were started
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as we live


def _complain_of_ourselves(program: str, error: BaseException) -> int:
    """Say in one line what nothing has caught, and where; all of it where that is wished."""
    if os.environ.get(DEBUG_VARIABLE):
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    with contextlib.suppress(Exception):
        return _complain(
            program,
            f"bug: {type(error).__name__}{place}: {error}; please report it, with the command "
            f"and what {DEBUG_VARIABLE}=1 shows",
            OUR_BUG,
        )
    return OUR_BUG


def _name(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, str | bytes) else str(filename)


def _leave(status: int) -> int:
    """The status; end the process where a compiler still works in a thread.

    It cannot be stopped, and Python must not be taken down under it.
    """
    compiler = sys.modules.get("asq_hw.compiler")
    if compiler is not None and compiler.is_compiling():
        sys.stdout.flush()
        os._exit(status)
    return status


def _discard_output() -> None:
    """Let the interpreter write what is left to nowhere when it ends, rather than complain."""
    with contextlib.suppress(OSError, ValueError):  # a stream in memory has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(program: str, message: str, status: int) -> int:
    """Print one line, whatever was in the message, and pass the status on."""
    with contextlib.suppress(OSError, ValueError):
        print(f"{program}:", _one_line(message), file=sys.stderr, flush=True)
    return status


def _one_line(message: str) -> str:
    """A message without line breaks, and without what a terminal would obey."""
    text = " ".join(message.split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
