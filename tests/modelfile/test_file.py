from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from safetensors.numpy import load_file

from asq_hw.errors import InputError
from asq_hw.modelfile import ModelFileError, load, safetensors, save
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Flatten
from tests.helpers.guards import peak_memory
from tests.helpers.modelfiles import join, split
from tests.helpers.networks import (
    conv,
    input_layer,
    network,
    network_of_every_kind,
    networks,
    quantizer,
)


def assert_same(a: object, b: object) -> None:
    """Equality of networks and their parts, arrays by type and content."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    elif dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple) and isinstance(b, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif hasattr(a, "keys"):
        assert dict(a).keys() == dict(b).keys()  # type: ignore[call-overload]
        for key in dict(a):  # type: ignore[call-overload]
            assert_same(a[key], b[key])  # type: ignore[index]
    else:
        assert a == b


CONTRACT = (Path(__file__).parents[2] / "docs" / "arithmetic.md").read_text(encoding="utf-8")


# Round trip


@settings(max_examples=150)
@given(drawn=networks())
def test_a_network_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, drawn: IntegerNetwork
) -> None:
    path = tmp_path_factory.mktemp("model") / "model.asq"
    save(drawn, path)
    loaded = load(path)
    assert_same(drawn, loaded)
    again = path.with_name("again.asq")
    save(loaded, again)
    assert again.read_bytes() == path.read_bytes()


def test_every_kind_comes_back_as_it_was(model: Path) -> None:
    assert_same(network_of_every_kind(), load(model))


def test_the_order_of_dictionaries_does_not_reach_the_file(tmp_path: Path) -> None:
    base = network_of_every_kind()
    files = []
    for step in (1, -1):
        references = {"b": np.array([1]), "a": np.array([2])}
        turned = IntegerNetwork(
            name=base.name,
            layers=base.layers,
            references=dict(list(references.items())[::step]),
            metadata=dict(list(base.metadata.items())[::step]),
        )
        save(turned, tmp_path / "model.asq")
        files.append((tmp_path / "model.asq").read_bytes())
    assert files[0] == files[1]


def test_the_reference_reader_reads_our_files(model: Path) -> None:
    # The safetensors package checks the container on its own: header, offsets, alignment.
    tensors = load_file(model)
    base = network_of_every_kind()
    assert tensors["stem.0/weight_codes"].dtype == np.uint8
    assert np.array_equal(tensors["stem.0/weight_codes"], base.layers[1].weight_codes)  # type: ignore[union-attr]
    assert tensors["stem.0/multiplier"].tolist() == [300, -400]
    assert tensors["stem.0/adapter.1.weight"].dtype == np.int8
    assert tensors["reference/fashion-mnist"].tolist() == [3, 1, 2]


def test_every_tensor_is_aligned_to_its_elements(model: Path) -> None:
    data = model.read_bytes()
    header, body = split(data)
    start = len(data) - len(body)
    widths = {"U8": 1, "I8": 1, "U16": 2, "I16": 2, "I32": 4}
    entries = [value for name, value in header.items() if name != "__metadata__"]
    assert {entry["dtype"] for entry in entries} == set(widths)
    for entry in entries:
        assert (start + entry["data_offsets"][0]) % widths[entry["dtype"]] == 0


def test_another_process_writes_the_same_bytes(model: Path) -> None:
    code = (
        "import sys; from asq_hw.modelfile import load, save; save(load(sys.argv[1]), sys.argv[2])"
    )
    for seed in ("1", "2"):
        copy = model.with_name(f"copy{seed}")
        subprocess.run(
            [sys.executable, "-c", code, str(model), str(copy)],
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert copy.read_bytes() == model.read_bytes()


def test_the_graph_is_what_the_contract_says(model: Path) -> None:
    header, _ = split(model.read_bytes())
    assert header["__metadata__"]["format"] == "asq-hw integer network"
    assert header["__metadata__"]["version"] == "2"
    graph = json.loads(header["__metadata__"]["graph"])
    assert list(graph) == ["name", "metadata", "images", "layers"]
    assert graph["images"] == {
        "classes": ["ankle boot", "sac \u00e0 main", "3"],
        "mean": ["0.13", "0.13"],
        "std": ["0.0052", "0.0052"],
    }
    assert graph["layers"][0] == {
        "kind": "input",
        "name": "input",
        "height": 6,
        "width": 6,
        "shift": 2,
        "output": {"bits": 16, "fraction_bits": 0},
    }
    assert graph["layers"][1] == {
        "kind": "conv",
        "name": "stem.0",
        "sources": ["input"],
        "quantizer": {
            "bits": 4,
            "signed": True,
            "step_fraction_bits": 8,
            "adapter": {
                "pool_multiplier": 1,
                "pool_shift": 1,
                "stages": [
                    {"multiplier": 1, "shift": 0, "minimum": 0, "maximum": 65535},
                    {"multiplier": 1, "shift": 0, "minimum": 1, "maximum": 65535},
                ],
            },
        },
        "weights": {"scheme": "post", "bits": 4, "encoding": "packed"},
        "narrow_shift": 6,
        "shift": 9,
        "output": {"bits": 16, "fraction_bits": 0},
        "stride": [1, 1],
        "padding": [1, 1],
        "groups": 1,
    }


def test_an_interrupted_save_keeps_the_old_file(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(network(input_layer(1, 1)), model)
    assert model.read_bytes() == before
    assert [entry.name for entry in model.parent.iterdir()] == [model.name]


# What is refused, and in which words


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.asq"
    save(network_of_every_kind(), path)
    return path


def edit_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    header, body = split(path.read_bytes())
    change(header)
    path.write_bytes(join(header, body))


def edit_graph(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    def change_header(header: dict[str, Any]) -> None:
        graph = json.loads(header["__metadata__"]["graph"])
        change(graph)
        header["__metadata__"]["graph"] = json.dumps(graph)

    edit_header(path, change_header)


def refusal(path: Path) -> str:
    """What `load` says, less the path."""
    with pytest.raises(ModelFileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return said_before_the_rule(message.removeprefix(f"{path}: "), caught.value.rule)


def said_before_the_rule(message: str, rule: str | None) -> str:
    """A message less the name of the rule that it ends with; a file without one cannot be read."""
    if rule is None:
        assert re.match("cannot be read: |it is a directory$|it is not a regular file$", message)
        return message
    assert message.endswith(f" [{rule}]")
    assert f"**{rule}" in CONTRACT
    return message.removesuffix(f" [{rule}]")


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "cannot be read: No such file or directory"


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "it is a directory"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "it is not a regular file"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"{", "it is not a model file"),
        (b"A text file, and a rather long one at that.\n", "it is not a model file"),
        (b"\x02\0\0\0\0\0\0\0{}", "it is not a model file: its metadata names"),
        (b"\x01\0\0\0\0\0\0\0{}", "its header is 1 bytes long, more than the file of 10 holds"),
        (b"\xff\0\0\0\0\0\0\0{}", "its header is 255 bytes long, more than the file of 10 holds"),
        (b"\0\0\0\0\0\0\0\x80{}", "its header would be 9223372036854775808 bytes long"),
        (b"\x03\0\0\0\0\0\0\0{\xff}", "its header is not UTF-8"),
        (b"\x02\0\0\0\0\0\0\0{]", "its header is not JSON: "),
    ],
)
def test_a_file_that_is_none_of_ours(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert refusal(tmp_path / "file").startswith(message)


def test_files_of_version_1_are_read(model: Path) -> None:
    """They do not tell which images the network takes."""

    def change(header: dict[str, Any]) -> None:
        graph = json.loads(header["__metadata__"]["graph"])
        del graph["images"]
        header["__metadata__"] |= {"version": "1", "graph": json.dumps(graph)}

    edit_header(model, change)
    old = load(model)
    assert old.images is None and old.classes == ()
    assert old.image_shape == (2, 6, 6)
    assert_same(dataclasses.replace(network_of_every_kind(), images=None), old)
    save(old, model)
    assert_same(old, load(model))


def test_files_of_version_1_tell_nothing_of_images(model: Path) -> None:
    edit_header(model, lambda header: header["__metadata__"].update({"version": "1"}))
    assert refusal(model) == "its graph has an unknown field 'images'"


BAD_IMAGES = [
    ({"classes": ["a", "b"]}, "a network of 3 scores must have as many classes, not 2"),
    ({"classes": ["a", "b", "a"]}, "a class's name must be used once, not twice: 'a'"),
    ({"classes": ["a", "", "c"]}, "a class's name must be 1..200 printable characters, not ''"),
    ({"classes": ["a", "b\n", "c"]}, "a class's name must be 1..200 printable characters"),
    ({"classes": ["a", 1, "c"]}, "its graph: images: classes must be a string, not 1"),
    ({"classes": "abc"}, "its graph: images: classes must be a list"),
    ({"mean": ["0.13"]}, "mean must hold one number for each of 2 channels, not 1"),
    ({"mean": ["0.13", "nan"]}, "its graph: images: mean must hold decimal numbers, not 'nan'"),
    ({"mean": ["0.13", "1e999"]}, "mean must be finite and at most 1e+06, not inf"),
    ({"mean": ["0.13", "0.2"]}, "input: offset must be within 1 of -153.8461538 for mean 0.2"),
    ({"std": ["0.0052", "0.0"]}, "std must be at least 1e-06, not 0.0"),
    ({"std": ["0.0052", "0.003"]}, "input: multiplier must be within 1 of 5.22875817 for mean"),
    ({"more": 1}, "its graph: images has an unknown field 'more'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_IMAGES)
def test_images_that_the_network_does_not_take(
    model: Path, change: dict[str, Any], message: str
) -> None:
    edit_graph(model, lambda graph: graph["images"].update(change))
    assert refusal(model).startswith(message)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("7", "version 7 is newer than this program reads (6)"),
        ("10", "version 10 is newer than this program reads (6)"),
        ("0", "version '0' is no version of a model file"),
        ("one", "version 'one' is no version of a model file"),
        ("9" * 5000, f"version '{'9' * 40}' is no version of a model file"),
    ],
)
def test_another_version_is_named_before_anything_else_is_read(
    model: Path, version: str, message: str
) -> None:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"] |= {"version": version, "graph": "not JSON"}

    edit_header(model, change)
    assert refusal(model) == message


def deep(text: str) -> str:
    return text * 100_000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dtype":"U8"', '"dtype":"F32"', "must have one of the types U8, U16, I8, I16, I32"),
        ('"dtype":"U8"', '"dtype":"I8"', "must be U8 with 4 dimensions, not I8 with 4"),
        ('"dtype":"U8"', '"dtype":[]', "must have one of the types"),
        ('"dtype":"U8"', '"dtype":"U16"', "has a shape that does not fit its data_offsets"),
        ('"dtype":"U8"', '"dtype":"U8","dtype":"U8"', "has the field 'dtype' more than once"),
        ('"dtype":"U8",', "", "must have the fields dtype, shape and data_offsets"),
        ('"dtype":"U8"', '"dtype":"U8","more":1', "must have the fields dtype, shape and"),
        ("[2,2,3,3]", "[2,2,3,NaN]", "its header must hold integers only, not NaN"),
        ("[2,2,3,3]", "[2,2,3,3.0]", "its header must hold integers only, not 3.0"),
        ("[2,2,3,3]", "[2,2,3,true]", "must have a shape of 1 to 8 positive integers"),
        ("[2,2,3,3]", "[]", "must have a shape of 1 to 8 positive integers"),
        ("[2,2,3,3]", "[2,2,9,1,1,1,1,1,1]", "must have a shape of 1 to 8 positive integers"),
        ("[2,2,3,3]", "[-2,-2,3,3]", "must have a shape of 1 to 8 positive integers"),
        ("[2,2,3,3]", "[0,1000000000000]", "must have a shape of 1 to 8 positive integers"),
        ("[2,2,3,3]", f"[{'9' * 5000}]", "its header is not JSON: Exceeds the limit"),
        ("[2,2,3,3]", f"[{'9' * 4000}]", "has a shape that does not fit its data_offsets"),
        ("[2,2,3,3]", deep("["), "its header is nested too deeply"),
        ("[2,2,3,3]", deep('{"a":'), "its header is nested too deeply"),
        ("[2,2,3,3]", "[18,2]", "must be U8 with 4 dimensions, not U8 with 2"),
        ('"stem.0/bias"', '"stem.0/bios"', "stem.0: the tensor 'stem.0/bias' is missing"),
        ('"stem.0/bias"', '"stem.0/multiplier"', "has the field 'stem.0/multiplier' more"),
        ('"__metadata__"', '"metadata"', "tensor 'metadata' must have the fields"),
        ('"__metadata__"', '"__metadata__":[1],"x"', "its __metadata__ is not an object of"),
        ('"__metadata__"', '"__metadata__":{"format":1},"x"', "its __metadata__ is not an"),
        ('"version":"2"', '"version":"2","more":"x"', "its metadata has an unknown field 'more'"),
        ('"version":"2",', "", "its metadata has no field 'version'"),
        ('"format":"asq-hw', '"format":"another', "its metadata names another"),
    ],
)
def test_a_bad_header(model: Path, old: str, new: str, message: str) -> None:
    data = model.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].decode()
    assert old in text
    model.write_bytes(join(text.replace(old, new, 1), data[8 + length :]))
    assert message in refusal(model)


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [
        (1, 1, "begins at byte"),  # a byte that no tensor owns, or that two do
        (-1, -1, "begins at byte"),
        (10**20, 10**20, "begins at byte"),
    ],
)
def test_tensors_that_leave_gaps_or_overlap(
    model: Path, begin: int, end: int, message: str
) -> None:
    def change(header: dict[str, Any]) -> None:
        place = header["stem.0/weight_codes"]["data_offsets"]
        header["stem.0/weight_codes"]["data_offsets"] = [place[0] + begin, place[1] + end]

    edit_header(model, change)
    assert message in refusal(model)


@pytest.mark.parametrize("change", [b"x", b"\0" * 64])
def test_bytes_after_the_last_tensor(model: Path, change: bytes) -> None:
    model.write_bytes(model.read_bytes() + change)
    assert "bytes, but the file holds" in refusal(model)


def test_a_truncated_file(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-1])
    assert "bytes, but the file holds" in refusal(model)


def test_too_many_tensors(model: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header |= {f"t{index}": 0 for index in range(10_001)}

    edit_header(model, change)
    assert refusal(model) == "it has 10017 tensors; at most 10000 are read"


DELETE = object()


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("stem.0", "kind", "convolution", "stem.0: kind must be one of input, conv, linear, add,"),
        ("stem.0", "kind", 3, "layer 2: kind must be a string, not 3"),
        ("stem.0", "kind", DELETE, "layer 2 has no field 'kind'"),
        ("stem.0", "name", "a/b", "a layer's name must be letters, digits, '_' and inner dots"),
        ("head", "name", "reference", "the tensor 'reference/weight_codes' is missing"),
        ("stem.0", "extra", 1, "stem.0 has an unknown field 'extra'"),
        ("stem.0", "shift", DELETE, "stem.0 has no field 'shift'"),
        ("stem.0", "shift", True, "stem.0: shift must be an integer, not true"),
        ("stem.0", "shift", "8", "stem.0: shift must be an integer, not '8'"),
        ("stem.0", "shift", [8], "stem.0: shift must be an integer, not a list"),
        ("stem.0", "shift", 47, "stem.0: shift must be an integer in 0..46, not 47"),
        ("stem.0", "shift", 10**300, "stem.0: shift must be an integer in 0..46, not 1"),
        ("stem.0", "stride", [1], "stem.0: stride must have 2 items, not 1"),
        ("stem.0", "stride", [1, False], "stem.0: stride must be an integer, not false"),
        ("stem.0", "stride", [0, 1], "stem.0: stride must be an integer in 1..64, not 0"),
        ("stem.0", "stride", "11", "stem.0: stride must be a list, not '11'"),
        ("stem.0", "groups", 2, "stem.0: needs 4 channels, its source has 2"),
        ("stem.0", "sources", "input", "stem.0: sources must be a list, not 'input'"),
        ("stem.0", "sources", ["input"] * 2, "stem.0: sources must have 1 items, not 2"),
        ("stem.0", "sources", ["head"], "stem.0: reads 'head', which no earlier layer makes"),
        ("stem.0", "output", 3, "stem.0: output must be an object, not 3"),
        ("stem.0", "output/bits", 25, "stem.0: feature bits must be an integer in 4..24, not 25"),
        ("stem.0", "output/more", 1, "stem.0: output has an unknown field 'more'"),
        ("stem.0", "weights/bits", 17, "stem.0: bits must be 2..8, not 17"),
        ("stem.0", "weights/bits", 3, "stem.0: 4 is no code of 3-bit post weights"),
        ("stem.0", "weights/scheme", "log", "stem.0: scheme must be one of uniform, pot, post,"),
        ("stem.0", "weights/encoding", "raw", "stem.0: encoding must be one of packed, paper,"),
        ("head", "weights/encoding", "paper", "head: grid paper is for pot and post"),
        ("head", "quantizer/bits", True, "head: quantizer: bits must be an integer, not true"),
        ("head", "quantizer/signed", 1, "head: quantizer: signed must be true or false, not 1"),
        ("head", "quantizer/step", 0, "head: a step size must be an integer in 1..65535, not 0"),
        ("head", "quantizer/step", None, "head: quantizer: step must be an integer, not null"),
        ("head", "quantizer/adapter", {}, "head: quantizer: adapter has no field 'stages'"),
        ("stem.0", "quantizer/step", 5, "stem.0: quantizer has an unknown field 'step'"),
        ("stem.0", "quantizer/adapter/stages", [], "stem.0: an adapter must have 1 or 2 stages"),
        ("stem.0", "quantizer/adapter/stages", [1], "stage 0 must be an object, not 1"),
        ("stem.0", "quantizer/adapter/pool_shift", 63, "stem.0: a pooling shift must be an int"),
        ("relu6", "maximum", 1.5, "its graph must hold integers only, not 1.5"),
        ("relu6", "maximum", 0, "relu6: maximum must be an integer in 1..16777215, not 0"),
        ("relu6", "maximum", DELETE, "relu6 has no field 'maximum'"),
        ("max", "padding", [2, 1], "max: padding must be at most half the kernel (3, 3), not"),
        ("mean", "multiplier", 0, "mean: multiplier must be an integer in 1..65535, not 0"),
        ("sum", "sources", ["max", "stem.0"], "sum: the two sources must have one shape and"),
        ("input", "height", 1 << 20, "input: an input's height must be an integer in 1..16384"),
        ("head", "name", "flat", "flat: the tensor 'flat/weight_codes' is missing"),
    ],
)
def test_a_bad_field_of_a_layer(
    model: Path, name: str, field: str, value: object, message: str
) -> None:
    def change(graph: dict[str, Any]) -> None:
        where = next(one for one in graph["layers"] if one["name"] == name)
        *outer, last = field.split("/")
        for key in outer:
            where = where[key]
        if value is DELETE:
            del where[last]
        else:
            where[last] = value

    edit_graph(model, change)
    assert message in refusal(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.pop("name"), "its graph has no field 'name'"),
        (lambda g: g.update(name="a b"), "a layer's name must be"),
        (lambda g: g.update(metadata={"a": 1}), "its graph: metadata: a must be a string, not 1"),
        (lambda g: g.update(metadata={"a": "\ud800"}), "a has half of a surrogate pair"),
        (lambda g: g.update(layers={}), "its graph: layers must be a list, not an object"),
        (lambda g: g.update(layers=[]), "a network's first layer must be its input"),
        (lambda g: g.update(layers=[[]]), "layer 1 must be an object, not a list"),
        (lambda g: g.update(layers=[{}] * 10_001), "it has 10001 layers; at most 10000 are read"),
        (
            lambda g: g.update(layers=g["layers"][:-1], images=None),
            "it has an unknown tensor 'head/bias'",
        ),
        (lambda g: g["layers"].reverse(), "a network's first layer must be its input"),
        (lambda g: g["layers"].append(g["layers"][0]), "tensor 'input/multiplier' is missing"),
        (lambda g: g["layers"].append(g["layers"][3]), "relu6: the name is used by two layers"),
        (lambda g: g.update(more=1), "its graph has an unknown field 'more'"),
    ],
)
def test_a_bad_graph(model: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    edit_graph(model, change)
    assert message in refusal(model)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("[]", "its graph must be an object, not a list"),
        ("", "its graph is not JSON"),
        ('{"name":"a","name":"a"}', "its graph has the field 'name' more than once"),
        (deep('{"a":'), "its graph is nested too deeply"),
        ('{"layers":' + "[" * 200 + "]" * 200 + "}", "layer 1 must be an object, not a list"),
    ],
)
def test_a_graph_that_is_no_graph(model: Path, graph: str, message: str) -> None:
    edit_header(model, lambda header: header["__metadata__"].update(graph=graph))
    assert message in refusal(model)


def test_an_unknown_tensor(model: Path) -> None:
    header, body = split(model.read_bytes())
    entry = {"dtype": "U8", "shape": [4], "data_offsets": [len(body), len(body) + 4]}
    header["stem.0/extra"] = entry
    model.write_bytes(join(header, body + b"1234"))
    assert refusal(model) == "it has an unknown tensor 'stem.0/extra'"


@pytest.mark.parametrize("dataset", ["", "../up", "a b", "x" * 65, "\x1b[31m", "é"])
def test_a_reference_with_a_name_that_is_no_plain_word(model: Path, dataset: str) -> None:
    def change(header: dict[str, Any]) -> None:
        header[f"reference/{dataset}"] = header.pop("reference/fashion-mnist")

    edit_header(model, change)
    assert refusal(model).startswith("a data set's name must be letters")


def test_a_long_message_is_cut(model: Path) -> None:
    edit_graph(model, lambda graph: graph.update({"x" * 500_000: 1}))
    assert len(refusal(model)) < 400


# Sizes


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "large", "wb") as file:
        file.write(b"\x02\0\0\0\0\0\0\0{}")
        file.truncate((144 << 20) + 1)  # sparse: it takes no disk
    message = refusal(tmp_path / "large")
    assert message == "it would be 150994945 bytes long; at most 150994944 are read"


def test_saving_what_could_not_be_read_is_refused(tmp_path: Path) -> None:
    layers = [input_layer(1, 1)]
    layers += [Flatten(name=f"f{i}", source=f"f{i - 1}" if i else "input") for i in range(10_000)]
    with pytest.raises(InputError, match="10002 layers; at most 10000"):
        save(network(*layers), tmp_path / "model.asq")
    assert list(tmp_path.iterdir()) == []


def test_small_tensors_that_would_grow_are_limited(tmp_path: Path) -> None:
    channels = 1 << 21
    wide = network(input_layer(1, 1, channels))
    save(wide, tmp_path / "model.asq")
    assert load(tmp_path / "model.asq").input.channels == channels
    with pytest.raises(InputError, match="beside the weight codes have 4194306 elements"):
        save(network(input_layer(1, 1, channels + 1)), tmp_path / "model.asq")


def test_the_largest_file_takes_twice_its_size_and_200_mb(tmp_path: Path) -> None:
    path = tmp_path / "large.asq"
    inputs, outputs = 1 << 15, 4560
    layer = conv(np.zeros((outputs, 1, 1, 1), int), bits=2, activations=quantizer(2))
    save(network(input_layer(1, 1), layer), path)
    header, _ = split(path.read_bytes())
    header["input/multiplier"]["shape"] = header["input/offset"]["shape"] = [inputs]
    header["conv/weight_codes"]["shape"] = [outputs, inputs, 1, 1]
    place = 0
    for entry in (value for key, value in header.items() if key != "__metadata__"):
        width = {"U8": 1, "I16": 2, "I32": 4}[entry["dtype"]]
        entry["data_offsets"] = [place, place + width * int(np.prod(entry["shape"]))]
        place = entry["data_offsets"][1]
    with open(path, "wb") as file:
        file.write(join(header, b""))
        file.truncate(file.tell() + place)  # every number in it is 0, and it takes no disk
    size = path.stat().st_size
    assert size > 0.98 * safetensors.MAX_FILE_BYTES
    with peak_memory() as peak:
        assert load(path).macs()["conv"] == inputs * outputs
    assert peak[0] <= 2 * size + 200e6
    # The codes that are held take two bytes each; a smaller peak would mean it was not measured.
    assert peak[0] > 2 * inputs * outputs
