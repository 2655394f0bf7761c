"""Processes for tests: started by fork, so that torch is imported once, and watched or killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

__all__ = ["ROOT", "execute", "fork", "fork_together", "free_port", "kill", "wait"]

ROOT = Path(__file__).parents[2]


def fork(work: Callable[[], object], **environment: str) -> int:
    """Do some work in a child process, and return its id.

    Only where no thread runs yet: a test calls this from a fresh interpreter.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    os.environ.update(environment)
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def fork_together(work: Callable[[], object], count: int) -> list[int]:
    """Do the same work in several processes, as torchrun would start them."""
    common = {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return [fork(work, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(count)]


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait(*processes: int) -> None:
    """Wait for processes that must end well."""
    for process in processes:
        _, status = os.waitpid(process, 0)
        if status != 0:
            raise RuntimeError(f"process {process} ended with status {status}")


def kill(process: int) -> bool:
    """Kill a process that may have ended, and return whether the signal ended it."""
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"process {process} ended with status {status}")
    return status == signal.SIGKILL


def execute(script: str, *arguments: object, wrap: tuple[str, ...] = ()) -> str:
    """Run a script in a fresh interpreter, where no thread has been started yet."""
    command = [*wrap, sys.executable, "-c", script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
