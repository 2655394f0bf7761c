"""Work in processes of their own, a few at a time, that end when whoever started them ends."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import IO, Any

from asq_hw.errors import InputError, StorageError
from asq_hw.files.atomic import make_folder

__all__ = ["Job", "Outcome", "locked", "run_jobs"]

_CONTEXT = multiprocessing.get_context("spawn")
"""A forked process would have half of torch's threads."""
_LOCK_PAUSE = 0.1
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to compute.

    Parameters
    ----------
    name : str
        For messages, and for other jobs.
    function, arguments
        What is called, in another process.
    needs : str or None
        Name of another job, whose result is the last argument.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a job: its result, or why there is none."""

    job: Job
    result: Any = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    job: Job
    process: BaseProcess
    answer: Connection


def run_jobs(jobs: Iterable[Job], count: int) -> Iterator[Outcome]:
    """Run jobs in order, at most `count` at a time, and yield each as it ends.

    One that fails, or whose process is killed, does not stop the others, but those that need it.
    When this process ends, in whatever way, those of the jobs end too.
    """
    waiting, running = list(jobs), list[_Running]()
    results, failed = dict[str | None, tuple[Any, ...]](), set[str | None]()
    results[None] = ()
    try:
        while waiting or running:
            for job in [job for job in waiting if job.needs in failed]:
                waiting.remove(job)
                failed.add(job.name)
                yield Outcome(job=job, problem=f"{job.needs} failed, which it needs")
            ready = [job for job in waiting if job.needs in results]
            for job in ready[: count - len(running)]:
                waiting.remove(job)
                running.append(_start(job, job.arguments + results[job.needs]))
            if not running:
                continue
            wait([each.process.sentinel for each in running] + [each.answer for each in running])
            for each in [r for r in running if r.answer.poll() or not r.process.is_alive()]:
                outcome = _finish(each)
                running.remove(each)
                if outcome.problem is None:
                    results[each.job.name] = (outcome.result,)
                else:
                    failed.add(each.job.name)
                yield outcome
    finally:
        for each in running:
            each.process.kill()
            each.process.join()


def _start(job: Job, arguments: tuple[Any, ...]) -> _Running:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(theirs, job.function, arguments))
    process.start()
    theirs.close()
    return _Running(job=job, process=process, answer=ours)


def _finish(done: _Running) -> Outcome:
    """Read the answer of a process that has one, or has ended."""
    try:
        result, problem = done.answer.recv()
    except EOFError:
        done.process.join()
        code = done.process.exitcode
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with status {code}"
        result, problem = None, f"its process {how}"
    done.process.join()
    done.answer.close()
    return Outcome(job=done.job, result=result, problem=problem)


def _work(answer: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Do a job, in its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this one
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer.send((function(*arguments), None))
    except (InputError, StorageError) as error:
        answer.send((None, str(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def locked(folder: Path, what: str, *, patience: float = 0) -> Iterator[None]:
    """Keep a folder for this process alone; the lock goes with the process, however it ends.

    Parameters
    ----------
    folder : Path
        Made if missing.
    what : str
        What it is, for messages.
    patience : float
        Seconds that another process is given to end.

    Raises
    ------
    InputError
        If another process has it.
    """
    make_folder(folder, what)
    with (folder / ".lock").open("w") as file:
        until = time.monotonic() + patience
        while not _lock(file):
            if time.monotonic() >= until:
                raise InputError(f"{what} {folder} is in use by another run of this command")
            time.sleep(_LOCK_PAUSE)
        yield


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
