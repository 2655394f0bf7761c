"""Compiled code does not see Ctrl-C: it looks at a flag, and ends in the middle of its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

import asq_hw
from asq_hw import datasets, modelfile
from asq_hw.compiler import compile_aside, is_compiling
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import Product
from asq_hw.numbers.schemes import scheme_named
from asq_hw.sim.engine import Run
from asq_hw.sim.instruction_sets import AUTO, Kernel
from asq_hw.sim.kernel_choice import available_kernels
from asq_hw.sim.program import ComputeType, Statistic
from tests.helpers import networks

BUNDLED = Path(asq_hw.__file__).parent / "bundled" / "fashion-mnist-resnet20-w4a4.asq"
ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds


def _wait(begun: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not begun():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _long_run(kernel: Kernel) -> Run:
    """So many images that they are not done before anyone has looked."""
    images = np.tile(datasets.load("bundled", limit=10).images, (3000, 1, 1, 1))
    return Run(modelfile.load(BUNDLED), images, product=Product(), kernel=kernel)


def _has_begun(run: Run, image: int, layer: int) -> bool:
    return bool(run.counts[image, layer, Statistic.STEP_SIZE])


def _compute_and_stop(run: Run, begun: Callable[[], bool]) -> None:
    """Set the flag once something has begun, and wait for the end."""
    thread = Thread(target=run.compute, args=(memory := run.memory(1), 0, len(run.images)))
    thread.start()
    try:
        _wait(begun)
    finally:
        memory.stop[0] = 1
        thread.join()


@pytest.mark.parametrize("kernel", available_kernels())
def test_work_ends_with_the_image_in_hand(kernel: Kernel) -> None:
    run = _long_run(kernel)
    run.warm_up()
    _compute_and_stop(run, lambda: _has_begun(run, 1, 1))
    assert _has_begun(run, 0, 1)
    assert not _has_begun(run, len(run.images) - 1, 1)
    assert not run.results[-1].any()


def test_a_set_flag_stops_before_the_first_layer() -> None:
    run = _long_run(AUTO)
    memory = run.memory(1)
    memory.stop[0] = 1
    run.compute(memory, 0, 2)
    assert not run.results.any()
    assert not run.counts[..., Statistic.STEP_SIZE].any()


def _two_layers(scheme: str, bits: int) -> IntegerNetwork:
    """Convolutions that take seconds each in plain loops; no output of the first is zero."""
    rng = np.random.default_rng(0)
    levels = Grid(scheme=scheme_named(scheme), bits=bits).levels
    codes = rng.choice([level.code for level in levels], (128, 128, 3, 3))
    return networks.network(
        networks.input_layer(128, 128, 128),
        networks.conv(
            codes,
            scheme=scheme,
            bits=bits,
            activations=networks.quantizer(8, signed=False),
            multiplier=0,
            bias=7,
            output_bits=16,
            padding=(1, 1),
        ),
        networks.conv(
            codes, name="second", source="conv", scheme=scheme, bits=bits, output_bits=16
        ),
    )


@pytest.mark.parametrize(
    ("scheme", "bits", "kind"), [("uniform", 8, ComputeType.INT32), ("post", 7, ComputeType.INT64)]
)
def test_plain_loops_end_inside_a_layer(scheme: str, bits: int, kind: ComputeType) -> None:
    network = _two_layers(scheme, bits)
    images = np.full((1, 128, 128, 128), 255, dtype=np.uint8)
    run = Run(network, images, product=Product(), kernel=Kernel.PORTABLE)
    assert run.plan.program.convolutions[0].compute_type == kind
    run.warm_up()
    memory = run.memory(1)
    first = run.plan.layout.maps["conv"]
    out = memory.maps[0, first : first + 128 * 128 * 128]
    thread = Thread(target=run.compute, args=(memory, 0, 1))
    thread.start()
    try:
        _wait(lambda: bool(out[0]))
    finally:
        memory.stop[0] = 1
        thread.join()
    assert out[0] == 7
    assert out[-1] == 0
    assert not _has_begun(run, 0, 2)


def _press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_does_not_wait_for_the_compiler() -> None:
    release = Event()
    finished: list[bool] = []

    def work() -> None:
        _press_ctrl_c()
        finished.append(release.wait(PATIENCE))

    with pytest.raises(KeyboardInterrupt):
        compile_aside(work)
    assert is_compiling()
    assert not finished
    release.set()
    _wait(lambda: not is_compiling())
    assert finished == [True]


def test_what_goes_wrong_in_the_compiler_reaches_the_caller() -> None:
    def work() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        compile_aside(work)


_ENDLESS = """
import sys, time
from asq_hw.cli import main
from asq_hw.sim.engine import Run
def compute(*_):
    print("compiling", flush=True)
    time.sleep(3600)
Run.compute = compute
sys.exit(main(["simulate"]))
"""


def test_the_program_ends_while_the_compiler_works() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "compiling\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, errors) == (130, "", "asq-hw: interrupted\n")


def test_ctrl_c_sets_the_flag_of_every_thread() -> None:
    run = _long_run(AUTO)
    run.warm_up()
    half = len(run.images) // 2

    def press() -> None:
        _wait(lambda: _has_begun(run, 0, 1) and _has_begun(run, half, 1))
        _press_ctrl_c()

    watcher = Thread(target=press)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in run.run(2, half):
            pass
    watcher.join()
    for last in (half - 1, len(run.images) - 1):
        assert not _has_begun(run, last, 1)
