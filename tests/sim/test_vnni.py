"""The form for AVX-512 VNNI on any x86 processor: its two instructions are spelled out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_CHILD = """
import numpy as np
from llvmlite import ir
from asq_hw import oracle
from asq_hw.numbers.products import Product
from asq_hw.sim import engine
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.kernels.llvm import I8, I16, I32, Emitter, vector
from tests.helpers import networks

call = Emitter.call
seen = set()


def spelled_out(emit, name, result, values):
    if ".vpdp" not in name:
        return call(emit, name, result, values)
    seen.add(name)
    kind, count = (I8, 4) if "bus" in name else (I16, 2)
    total, first, second = values
    builder, lanes = emit.builder, result.count
    parts = vector(kind, count * lanes)
    codes, weights = builder.bitcast(first, parts), builder.bitcast(second, parts)
    for number in range(count):
        places = vector(I32, lanes)([count * lane + number for lane in range(lanes)])
        a, b = (builder.shuffle_vector(side, side, places) for side in (codes, weights))
        widened = builder.zext if kind is I8 else builder.sext
        product = builder.mul(widened(a, result), builder.sext(b, result))
        total = builder.add(total, product)
    return total


Emitter.call = spelled_out
engine.choose_kernel = Kernel
for seed in range(30):
    product = Product(kind="post-dual" if seed >= 20 else "post-split")
    plan = ["conv", "relu", "depthwise", "add", "max_pool", "conv", "average_pool", "linear"]
    network = networks.random_network(seed, plan, product=product)
    if max(feature.format.bits for feature in network.feature_maps().values()) > 16:
        continue  # would be compiled apart
    images = networks.random_images(network, 3, seed)
    scores = oracle.run(network, images, product)[network.outputs[0].layer].reshape(3, -1)
    result = engine.simulate(network, images, product=product, threads=1, kernel="vnni")
    assert np.array_equal(result.scores, scores), seed
print(*sorted(seen))
"""


def test_the_form_for_vnni_equals_the_oracle_without_its_instructions(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    variables = {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path)}
    child = subprocess.run(
        [sys.executable, "-c", _CHILD],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == [
        "llvm.x86.avx512.vpdpbusd.512",
        "llvm.x86.avx512.vpdpwssd.256",
        "llvm.x86.avx512.vpdpwssd.512",
    ]
