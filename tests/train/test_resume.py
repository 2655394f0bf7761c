"""Runs that are killed, fill the disk or are interrupted go on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.processes import execute

pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]

COMMON = """
import os, sys, time
from pathlib import Path

import numpy as np
import sklearn.datasets  # here, so that no child has to
import torch
import torch._dynamo  # the optimizer's first step imports it

from asq_hw.errors import StorageError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint
from asq_hw.train.run import training
from asq_hw.train.run.folder import BEST, LAST, LOG
from tests.helpers import processes

OUT = Path(sys.argv[1])
SIZE = ["width=8", "training_images=256"]
FLOAT = recipes.load("digits-float", ["epochs=1", *SIZE])
QUANTIZED = recipes.load("digits-asq-post-w4a4", ["epochs=4", "freeze_bn_epochs=1", *SIZE])


def run(folder, report=None):
    init = OUT / "float" / LAST
    training.train(
        QUANTIZED, output=OUT / folder, init=init, threads=1, resume=True, report=report
    )


def left_by(folder):
    '''All bytes that a finished run leaves: both networks, and the log.'''
    found = [(OUT / folder / LOG).read_bytes()]
    for name in (BEST, LAST):
        saved = checkpoint.load(OUT / folder / name)
        found += [key.encode() + w.numpy().tobytes() for key, w in saved.weights.items()]
        found += [repr((saved.epoch, saved.accuracy)).encode()]
    names = sorted(path.name for path in (OUT / folder).iterdir())
    return [*found, repr(names).encode()]


def same_as_whole(folder):
    assert left_by(folder) == left_by("whole"), folder


def begin():
    train = lambda: training.train(FLOAT, output=OUT / "float", threads=1)
    processes.wait(processes.fork(train))
    started = time.monotonic()
    processes.wait(processes.fork(lambda: run("whole")))
    return time.monotonic() - started
"""

KILLED_AT_RANDOM = """
seconds = begin()
rng = np.random.default_rng(20)
kills, rounds, epochs = 0, 0, []
while kills < 20:
    rounds += 1
    folder = f"killed{rounds}"
    while True:
        process = processes.fork(lambda: run(folder))
        time.sleep(rng.uniform(0, 0.7 * seconds) if kills < 20 else 0)
        if kills == 20:
            processes.wait(process)
            break
        if not processes.kill(process):
            break  # it had ended before
        kills += 1
        path = OUT / folder / LAST
        epochs.append(checkpoint.load(path).epoch if path.exists() else -1)
    same_as_whole(folder)
print(kills, rounds, *epochs)
"""

KILLED_WHILE_SAVING = """
import signal
begin()
replace = os.replace

def die_before(last):
    calls = 0
    def replace_or_die(source, target):
        nonlocal calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    os.replace = replace_or_die

# The first network; then in each epoch the log, the best network where it is one, the last.
# What is left before a rename is also what is left after the one before it.
for last in range(1, 9):
    folder = f"saving{last}"
    def work():
        die_before(last)
        run(folder)
    process = processes.fork(work)
    _, status = os.waitpid(process, 0)
    assert status == signal.SIGKILL, (last, status)
    processes.wait(processes.fork(lambda: run(folder)))
    same_as_whole(folder)
print("done")
"""

FULL_DISK = """
import resource, shutil, signal, subprocess
begin()
how = sys.argv[2]
disk, filler = OUT / "full", OUT / "full" / "filler"
disk.mkdir()
if how == "tmpfs":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)

def fill(progress):
    if (progress.epoch, progress.batch) != (3, 2):
        return
    if how == "limit":  # no file can grow beyond the log's few kilobytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, 1 << 15))
        return
    with open(filler, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(1 << 12))
        except OSError:
            stream.truncate(stream.tell() - (1 << 15))  # room for the log, for no network

def work():
    try:
        run("full/run", fill)
    except StorageError as error:
        print(error)
        return
    raise AssertionError("the disk was not full")

processes.wait(processes.fork(work))
saved = checkpoint.load(disk / "run" / LAST)
print(saved.epoch, *sorted(path.name for path in (disk / "run").iterdir()))
saved.build_model()
filler.unlink(missing_ok=True)
processes.wait(processes.fork(lambda: run("full/run")))
same_as_whole("full/run")
"""


def test_a_run_killed_at_20_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    kills, rounds, *epochs = map(int, execute(COMMON + KILLED_AT_RANDOM, tmp_path).split())
    assert kills == 20
    assert rounds >= 1
    # The moments were spread: some before the first network was saved, some in later epochs.
    assert len(set(epochs)) >= 3


def test_a_run_killed_around_every_rename_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert execute(COMMON + KILLED_WHILE_SAVING, tmp_path) == "done\n"


def can_mount() -> bool:
    """Whether a file system of our own can be mounted, in a namespace of our own."""
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(trial, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    """A file system of 4 MB that fills up; without the right to mount one, a limit on files."""
    if can_mount():
        output = execute(COMMON + FULL_DISK, tmp_path, "tmpfs", wrap=("unshare", "-rm"))
        reason = "No space left on device"
    else:
        output = execute(COMMON + FULL_DISK, tmp_path, "limit")
        reason = "File too large"
    error, left = output.splitlines()
    assert "cannot write" in error
    assert reason in error
    # Two epochs are whole; the third had written its line of the log, and nothing half.
    assert left.split() == ["2", "best.pt", "last.pt", "log.jsonl"]


def photographs(folder: Path) -> None:
    """Two classes of images, for training and for testing."""
    rng = np.random.default_rng(1)
    for part in ("train", "val"):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for index in range(40):
                pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")


def test_ctrl_c_ends_training_and_its_workers_in_one_line(tmp_path: Path) -> None:
    photographs(tmp_path / "images")
    pairs = [f"dataset={tmp_path / 'images'}", "image_size=16", "crop_padding=0", "epochs=100"]
    pairs += ["batch_size=8", "flip=true", "width=8"]
    sets = [part for pair in pairs for part in ("--set", pair)]
    command = [sys.executable, "-m", "asq_hw.cli", "train", "--recipe", "digits-float", *sets]
    command += ["-o", str(tmp_path / "run"), "--workers", "2", "--threads", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        log = tmp_path / "run" / "log.jsonl"
        while not log.exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    lines = [line for line in errors.splitlines() if not line.startswith("epoch ")]
    assert lines == ["asq-hw: interrupted"]
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()][:1] == [1]
