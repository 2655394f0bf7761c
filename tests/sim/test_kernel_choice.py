"""Which kernel is chosen, and that the form for AVX2 needs no more than that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

from asq_hw.errors import InputError
from asq_hw.sim import instruction_sets, kernel_choice
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.kernel_choice import available_kernels, choose_kernel

AVX2 = frozenset({"sse2", "avx", "avx2", "fma"})
VNNI = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512vnni"}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's own settings, whatever these tests run with."""
    monkeypatch.setattr(config, "DISABLE_JIT", 0)
    monkeypatch.setattr(config, "CPU_FEATURES", None)


def _become(monkeypatch: pytest.MonkeyPatch, features: frozenset[str]) -> None:
    """Be a processor of these features, as Numba and as LLVM see it."""
    monkeypatch.setattr(instruction_sets, "host_features", lambda: features)
    text = ",".join([*(f"+{name}" for name in sorted(features)), "-avx512bf16"])
    monkeypatch.setattr(kernel_choice, "get_host_cpu_features", lambda: text)


@pytest.mark.parametrize(
    ("features", "kernels"),
    [
        (VNNI, [Kernel.VNNI, Kernel.AVX2, Kernel.PORTABLE]),
        (VNNI - {"avx512vnni"}, [Kernel.AVX2, Kernel.PORTABLE]),
        (VNNI - {"avx512vl"}, [Kernel.AVX2, Kernel.PORTABLE]),
        (AVX2, [Kernel.AVX2, Kernel.PORTABLE]),
        (AVX2 - {"fma"}, [Kernel.PORTABLE]),
        (frozenset({"neon"}), [Kernel.PORTABLE]),
    ],
)
def test_the_fastest_kernel_that_runs_is_chosen(
    monkeypatch: pytest.MonkeyPatch, features: frozenset[str], kernels: list[Kernel]
) -> None:
    _become(monkeypatch, features)
    assert available_kernels() == kernels
    assert choose_kernel("auto") is kernels[0]
    for kernel in Kernel:
        if kernel in kernels:
            assert choose_kernel(kernel) is kernel
        else:
            with pytest.raises(InputError, match=f"kernel {kernel} needs .* AVX"):
                choose_kernel(kernel)


@pytest.mark.parametrize(
    ("chosen", "best"),
    [
        ("", Kernel.PORTABLE),
        ("+avx2,+fma", Kernel.AVX2),
        ("-avx2", Kernel.PORTABLE),
        ("+avx2,+avx512f,+avx512bw,+avx512vl,+avx512vnni", Kernel.VNNI),
    ],
)
def test_features_set_by_hand_are_respected(
    monkeypatch: pytest.MonkeyPatch, chosen: str, best: Kernel
) -> None:
    _become(monkeypatch, VNNI)
    monkeypatch.setattr(config, "CPU_FEATURES", chosen)
    assert choose_kernel("auto") is best
    _become(monkeypatch, frozenset())
    assert choose_kernel("auto") is Kernel.PORTABLE, "the processor cannot run it"


def test_without_the_compiler_there_are_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    _become(monkeypatch, VNNI)
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    assert available_kernels() == [Kernel.PORTABLE]


_CHILD = """
import numpy as np
from asq_hw import oracle
from asq_hw.sim import simulate
from asq_hw.sim.kernels.interpreter import interpreter
from tests.helpers import networks
for seed in range(20):
    plan = ["conv", "relu", "depthwise", "add", "max_pool", "conv", "average_pool", "linear"]
    network = networks.random_network(seed, plan)
    if max(feature.format.bits for feature in network.feature_maps().values()) > 16:
        continue  # would be compiled apart
    images = networks.random_images(network, 3, seed)
    scores = oracle.run(network, images)[network.outputs[0].layer].reshape(3, -1)
    assert np.array_equal(simulate(network, images, threads=1).scores, scores)
print(*interpreter().inspect_asm().values(), sep="\\n")
"""


@pytest.mark.skipif(Kernel.AVX2 not in available_kernels(), reason="the processor has no AVX2")
def test_a_processor_with_avx2_alone_runs_all_code(tmp_path: Path) -> None:
    """For an old one the same bits come out, and no instruction or register of AVX-512."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    variables = {
        "PYTHONPATH": path,
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma",
        "NUMBA_CACHE_DIR": str(tmp_path),  # what comes from a cache has no listing
    }
    code = subprocess.run(
        [sys.executable, "-c", _CHILD],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    ).stdout
    assert "vpmaddubsw" in code and "%ymm15" in code
    newer = re.compile(r"%zmm\d|%[xy]mm(1[6-9]|2\d|3[01])\b|%k[0-7]\b|vpdpbusd")
    assert newer.findall(code) == []
