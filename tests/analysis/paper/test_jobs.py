"""Jobs in processes: in order, a few at a time, and none outlives what started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from analysis.paper import jobs
from analysis.paper.jobs import Job, locked, run_jobs
from asq_hw.errors import InputError
from tests.helpers.guards import no_hang

PATIENCE = 600


def note(folder: Path, name: str, *needed: str) -> str:
    """Say in files how many such jobs ran at once, and what was passed on."""
    (folder / f"{name}.begun").write_text(" ".join(needed))
    running = len(list(folder.glob("*.begun"))) - len(list(folder.glob("*.ended")))
    time.sleep(0.05)
    (folder / f"{name}.ended").touch()
    return f"{name}{running}"


def linger(seconds: float) -> None:
    time.sleep(seconds)


def refuse(folder: Path) -> None:
    raise InputError(f"{folder.name} is refused")


def die(folder: Path) -> None:
    del folder
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(folder: Path) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(PATIENCE)


def job(name: str, function: object, *arguments: object, needs: str | None = None) -> Job:
    return Job(name=name, function=function, arguments=arguments, needs=needs)  # type: ignore[arg-type]


def test_jobs_run_in_order_and_get_what_they_need(tmp_path: Path) -> None:
    work = [
        job("a", note, tmp_path, "a"),
        job("b", note, tmp_path, "b", needs="a"),
        job("c", note, tmp_path, "c"),
    ]
    with no_hang(PATIENCE):
        outcomes = list(run_jobs(work, 1))
    assert [(o.job.name, o.result, o.problem) for o in outcomes] == [
        ("a", "a1", None),
        ("b", "b1", None),
        ("c", "c1", None),
    ]
    assert (tmp_path / "b.begun").read_text() == "a1"


def test_no_more_jobs_than_asked_for_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    processes, alive = [], []

    def start(*arguments: Any) -> Any:
        running = begin(*arguments)
        processes.append(running.process)
        alive.append(sum(process.is_alive() for process in processes))
        return running

    begin = jobs._start
    monkeypatch.setattr(jobs, "_start", start)
    with no_hang(PATIENCE):
        list(run_jobs([job(str(n), linger, n) for n in (0, 3, 1, 1)], 2))
    assert len(processes) == 4 and max(alive) == 2


def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    work = [
        job("refused", refuse, tmp_path),
        job("without", note, tmp_path, "without", needs="refused"),
        job("killed", die, tmp_path),
        job("last", note, tmp_path, "last"),
    ]
    with no_hang(PATIENCE):
        problems = {o.job.name: o.problem for o in run_jobs(work, 2)}
    assert problems == {
        "refused": f"{tmp_path.name} is refused",
        "without": "refused failed, which it needs",
        "killed": "its process was killed by signal 9",
        "last": None,
    }
    assert not (tmp_path / "without.begun").exists()


PARENT = """
import sys
from pathlib import Path
from analysis.paper.jobs import run_jobs
from tests.analysis.paper.test_jobs import job, sleep

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    list(run_jobs([job(str(n), sleep, folder) for n in range(3)], 2))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_jobs_end_with_what_started_them(tmp_path: Path, how: signal.Signals) -> None:
    root = Path(__file__).parents[3]
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(root)}
    with no_hang(PATIENCE):
        parent = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            cwd=root,
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        while len(children := list(tmp_path.glob("*.pid"))) < 2:
            assert parent.poll() is None
            time.sleep(0.02)
        parent.send_signal(how)
        parent.wait()
        while any(is_alive(int(path.stem)) for path in children):
            time.sleep(0.02)
    assert len(list(tmp_path.glob("*.pid"))) == 2


def is_alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_folder_is_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    refused = pytest.raises(InputError, match=f"^--runs {folder} is in use by another run")
    with locked(folder, "--runs"), refused, locked(folder, "--runs"):
        pass
    with locked(folder, "--runs"):
        pass
