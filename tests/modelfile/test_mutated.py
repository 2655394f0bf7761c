"""10,000 mutated model files: each loads, or gives the one documented error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

from asq_hw import oracle
from asq_hw.modelfile import ModelFileError, load, save
from asq_hw.network.graph import IntegerNetwork
from tests.helpers.guards import no_hang, peak_memory
from tests.helpers.modelfiles import join, split
from tests.helpers.networks import network_of_every_kind, random_images

WILD: list[object] = [
    None, True, False, -1, 0, 1, 2, 7, 8, 9, 16, 24, 31, 46, 62, 63, 64, 255, 256, 65535, 65536,
    2**31 - 1, 2**31, -(2**31), 2**32, 2**63, 2**64, -(2**63), 10**400, 1.5,
    float("nan"), float("inf"),
    "", "x", "input", "stem.0", "head", "../../etc/passwd", "\0", "\ud800", "é" * 70, "x" * 3000,
    [], [1], [1, 1], [0, 0], [3, 3], [64, 64], [2**40, 2**40], ["input"], ["input", "input"],
    [[]], [None] * 50,
    {}, {"bits": 8}, {"kind": "conv"}, "uniform", "symmetric", "pot", "post", "apot",
    "packed", "paper", "zero-free",
    "conv", "linear", "add", "relu", "flatten", "max_pool", "average_pool", "global_average_pool",
    json.loads("[" * 200 + "]" * 200),
]  # fmt: skip


def flip_bits(data: bytes, rng: Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(changed)


def flip_bits_of_tensors(data: bytes, rng: Generator) -> bytes:
    start = 8 + int.from_bytes(data[:8], "little")
    return data[:start] + flip_bits(data[start:], rng)


def change_size(data: bytes, rng: Generator) -> bytes:
    if rng.random() < 0.7:
        return data[: rng.integers(len(data))]
    return data + rng.bytes(int(rng.integers(1, 100)))


def splice(data: bytes, rng: Generator) -> bytes:
    a, b, c, d = (int(place) for place in rng.integers(0, len(data), size=4))
    a, b, c, d = min(a, b), max(a, b), min(c, d), max(c, d)
    return data[:a] + data[c:d] + data[b:]


def change_header_length(data: bytes, rng: Generator) -> bytes:
    length = int.from_bytes(data[:8], "little")
    near = length + int(rng.integers(-20, 21))
    wild = int(rng.choice([0, 1, 2, 2**20, 2**20 + 1, 2**32, 2**63 - 1]))
    return (near if rng.random() < 0.5 else wild).to_bytes(8, "little") + data[8:]


def repeat_a_field(data: bytes, rng: Generator) -> bytes:
    header, body = split(data)
    text = json.dumps(header)
    places = [index for index, char in enumerate(text) if char == "{"]
    at = int(rng.choice(places)) + 1
    key = str(rng.choice(["shape", "dtype", "name", "format", "input/offset"]))
    quote = '\\"' if '"graph"' in text[:at] and rng.random() < 0.5 else '"'
    return join(f"{text[:at]}{quote}{key}{quote}: {quote}x{quote}, {text[at:]}", body)


def change_header(data: bytes, rng: Generator) -> bytes:
    header, body = split(data)
    change_somewhere(header, rng)
    return join(header, body)


def change_graph(data: bytes, rng: Generator) -> bytes:
    header, body = split(data)
    graph = json.loads(header["__metadata__"]["graph"])
    for _ in range(rng.integers(1, 3)):
        change_somewhere(graph, rng)
    header["__metadata__"]["graph"] = json.dumps(graph)
    return join(header, body)


def swap_tensors(data: bytes, rng: Generator) -> bytes:
    header, body = split(data)
    names = sorted(name for name in header if name != "__metadata__")
    a, b = (str(name) for name in rng.choice(names, size=2))
    header[a], header[b] = header[b], header[a]
    return join(header, body)


MUTATIONS = [
    flip_bits,
    flip_bits_of_tensors,
    change_size,
    splice,
    change_header_length,
    repeat_a_field,
    change_header,
    change_graph,
    change_graph,
    swap_tensors,
]


def change_somewhere(tree: Any, rng: Generator) -> None:
    """Delete, repeat, swap or replace one node of a JSON tree."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            for key in keys:
                places.append((node, key))
                walk(node[key])

    walk(tree)
    if not places:
        return
    node, key = places[rng.integers(len(places))]
    match int(rng.integers(6)):
        case 0:
            del node[key]
        case 1:
            other, other_key = places[rng.integers(len(places))]
            node[key] = json.loads(json.dumps(other[other_key]))
        case 2 if isinstance(node, list):
            node.insert(key, json.loads(json.dumps(node[key])))
        case 3 if type(node[key]) is int:
            node[key] += int(rng.choice([-1, 1]))
        case 4 if isinstance(node, dict):
            node[f"{key}x"] = node.pop(key)
        case _:
            node[key] = WILD[rng.integers(len(WILD))]


@pytest.mark.parametrize("part", range(4))
def test_mutated_files_load_or_give_the_one_error(tmp_path: Path, part: int) -> None:
    model = tmp_path / "model.asq"
    originals = []
    for images in (network_of_every_kind().images, None):  # as version 2 and version 1 tell
        save(replace(network_of_every_kind(), images=images), model)
        originals.append(model.read_bytes())
    rng = np.random.default_rng(part)
    loaded: list[IntegerNetwork] = []
    refused: set[str] = set()
    count = 2500
    for number in range(count):
        turn, kind = divmod(number, len(MUTATIONS))
        data = MUTATIONS[kind](originals[turn % 2], rng)
        if rng.random() < 0.1:
            data = MUTATIONS[rng.integers(len(MUTATIONS))](data, rng) if is_whole(data) else data
        model.write_bytes(data)
        with no_hang(60), peak_memory() as peak:
            try:
                loaded.append(load(model))
            except ModelFileError as error:
                assert str(error).startswith(f"{model}: ")
                assert "\n" not in str(error) and len(str(error)) < 400 + len(str(model))
                refused.add(str(error))
        assert peak[0] <= 2 * len(data) + 200e6
    # Neither all nor none may pass, and the files must differ in what is wrong with them.
    assert 0.05 * count < len(loaded) < 0.6 * count
    assert len(refused) > 0.1 * count
    ran = sum(run_if_small(one) for one in loaded[::4])
    assert ran > 20


def is_whole(data: bytes) -> bool:
    """Whether the header of mutated data can be taken apart to be mutated again."""
    try:
        header, _ = split(data)
        return isinstance(json.loads(header["__metadata__"]["graph"]), dict)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def run_if_small(loaded: IntegerNetwork) -> bool:
    """Run a network that loaded: being valid, it must not fail nor leave 64 bits."""
    sizes = [made.size for made in loaded.feature_maps().values()]
    if sum(sizes) + sum(loaded.macs().values()) > 20_000:
        return False
    scores = oracle.run(loaded, random_images(loaded, 1, seed=0))[loaded.outputs[0].layer]
    assert scores.shape[0] == 1 and scores.shape[2:] == (1, 1)
    return True
