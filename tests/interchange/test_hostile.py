"""Files that are no networks, or bad ones: one line that names them, and nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.interchange import library
from asq_hw.interchange.floating import load_onnx
from asq_hw.interchange.quantized import load_qonnx
from tests.helpers.onnx_files import drawn, model, node

QONNX_FILE = Path(__file__).parent / "files" / "digits-brevitas.onnx"


def network(**how: object) -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w", "a"),
        node("Relu", "a", "r"),
        node("Flatten", "r", "f"),
        node("Gemm", "f k", "y"),
    ]
    constants = {"w": drawn(4, 1, 3, 3), "k": drawn(144, 10)}
    return model(nodes, constants, shape=("N", 1, 8, 8), **how)  # type: ignore[arg-type]


def with_dimension(**sizes: object) -> onnx.ModelProto:
    made = network()
    shape = made.graph.input[0].type.tensor_type.shape
    for place, size in ((1, sizes.get("c")), (2, sizes.get("h"))):
        if isinstance(size, str):
            shape.dim[place].dim_param = size
        elif isinstance(size, int):
            shape.dim[place].dim_value = size
    return made


def external() -> onnx.ModelProto:
    made = network()
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    tensor.ClearField("raw_data")
    return made


def with_function() -> onnx.ModelProto:
    made = network()
    body = [helper.make_node("Relu", ["a"], ["b"])]
    imports = [helper.make_opsetid("", 18)]
    made.functions.append(helper.make_function("own", "twice", ["a"], ["b"], body, imports))
    return made


def two_inputs() -> onnx.ModelProto:
    made = network()
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 1, 8, 8)))
    return made


def of_type(kind: int) -> onnx.ModelProto:
    made = network()
    made.graph.input[0].type.tensor_type.elem_type = kind
    return made


def newer(field: str) -> onnx.ModelProto:
    made = network()
    if field == "ir":
        made.ir_version = 99
    else:
        made.opset_import[0].version = 99
    return made


def sparse() -> onnx.ModelProto:
    made = network()
    made.graph.sparse_initializer.add()
    return made


def broken_tensor() -> onnx.ModelProto:
    made = network()
    made.graph.initializer[0].raw_data = b"123"
    return made


def huge_tensor() -> onnx.ModelProto:
    made = network()
    made.graph.initializer[0].dims[0] = 1 << 60
    return made


def same_name() -> onnx.ModelProto:
    made = network()
    made.graph.initializer.append(made.graph.initializer[0])
    return made


def without_opset() -> onnx.ModelProto:
    made = network()
    del made.opset_import[:]
    return made


def no_shape() -> onnx.ModelProto:
    made = network()
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


def named(name: str) -> onnx.ModelProto:
    made = network()
    made.graph.node[0].name = name
    return made


def parameterless() -> onnx.ModelProto:
    return model(
        [node("GlobalAveragePool", "x", "g"), node("Flatten", "g", "y")], shape=("N", 1, 8, 8)
    )


BYTES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is no ONNX file"),
    "text": (lambda: b"hello, this is a text\n" * 9, "is no ONNX file"),
    "zip": (lambda: b"PK\x03\x04" + bytes(range(256)), "is no ONNX file"),
    "cut": (lambda: network().SerializeToString()[:-700], "is no ONNX file, or is cut off"),
}
MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "opset": (lambda: newer("opset"), r"\(opset\) must be 9\.\.23, not 99"),
    "old opset": (lambda: network(opset=7), r"\(opset\) must be 9\.\.23, not 7"),
    "no opset": (without_opset, "must name one version of ONNX's operators, not 0"),
    "format": (lambda: newer("ir"), "version 99 of ONNX's format is newer than is read"),
    "dynamic": (lambda: with_dimension(h="height"), "must have a fixed number of channels, height"),
    "zero": (lambda: with_dimension(c=0), "must have a fixed number of channels, height"),
    "large": (lambda: with_dimension(h=1 << 40), "is too large"),
    "no shape": (no_shape, r"must be images \(N, C, H, W\)"),
    "type": (lambda: of_type(TensorProto.INT64), "the input 'x' must be of the type float"),
    "inputs": (two_inputs, "must have one input, and outputs of different names, not 2 and 1: y"),
    "external": (external, "the tensor 'w' is kept in another file"),
    "function": (with_function, r"functions of a file's own \('twice'\) are not read"),
    "sparse": (sparse, "sparse tensors are not read"),
    "broken tensor": (broken_tensor, "the tensor 'w' is broken"),
    "huge tensor": (huge_tensor, "the tensor 'w' has an impossible shape"),
    "line break": (lambda: named("two\nlines"), "a name must be at most 1000 printable"),
    "long name": (lambda: named("a" * 1001), "a name must be at most 1000 printable"),
    "same name": (same_name, "the tensor 'w' is there twice"),
}
COMMANDS = (
    "check net.onnx",
    "quantize net.onnx --data digits -o out.asq",
    "import net.onnx -o out.asq",
)


def contents() -> dict[str, tuple[bytes, str]]:
    made = {name: (make(), message) for name, (make, message) in BYTES.items()}
    return made | {
        name: (make().SerializeToString(), message) for name, (make, message) in MODELS.items()
    }


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complaint(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """The one line of a command that must fail; nothing else is printed, and nothing written."""
    before = sorted(os.listdir())
    status = main(command.split())
    output, errors = capsys.readouterr()
    assert (status, output) == (2, ""), errors
    assert errors.startswith("asq-hw: error: ") and errors.count("\n") == 1
    assert sorted(os.listdir()) == before
    return errors


@pytest.mark.parametrize("case", [*BYTES, *MODELS])
def test_a_bad_file_is_named_in_one_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, message = contents()[case]
    Path("net.onnx").write_bytes(content)
    for command in COMMANDS:
        line = complaint(capsys, command)
        assert "net.onnx" in line
        assert re.search(message, line), line


def test_what_is_no_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkdir("folder.onnx")
    os.mkfifo("pipe.onnx")
    for name, message in (
        ("none.onnx", "does not exist"),
        ("folder.onnx", "regular file"),
        ("pipe.onnx", "is not a regular file"),
    ):
        for command in COMMANDS:
            line = complaint(capsys, command.replace("net.onnx", name))
            assert message in line and name in line


def test_a_file_is_looked_at_before_memory_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with open("net.onnx", "wb") as file:
        file.truncate(1 << 40)
    for command in COMMANDS:
        assert "must be at most 536870912 bytes" in complaint(capsys, command)
    assert "must be at most 1024 bytes" in complaint(
        capsys, f"import {QONNX_FILE} -o out.asq --memory-limit 1K"
    )


def test_a_network_without_parameters_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.onnx").write_bytes(parameterless().SerializeToString())
    assert "small has no parameters" in complaint(capsys, COMMANDS[1])
    assert "it has no Quant nodes" in complaint(capsys, COMMANDS[2])


def test_images_of_another_size_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        node("Conv", "x w", "a"),
        node("GlobalAveragePool", "a", "g"),
        node("Flatten", "g", "y"),
    ]
    made = model(nodes, {"w": drawn(10, 1, 3, 3)}, shape=("N", 1, 9, 8))
    Path("net.onnx").write_bytes(made.SerializeToString())
    for command in (COMMANDS[1], "check net.onnx --data digits"):
        line = complaint(capsys, command)
        assert "net.onnx takes images of (1, 9, 8), not of (1, 8, 8)" in line
    line = complaint(capsys, f"import {QONNX_FILE} -o out.asq --data fashion-mnist-none")
    assert "fashion-mnist-none" in line


def test_weights_beside_those_of_a_file_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.onnx").write_bytes(network().SerializeToString())
    for command in (f"{COMMANDS[0]} --weights w.pt", f"{COMMANDS[1]} --weights w.pt"):
        assert "net.onnx has its weights in it" in complaint(capsys, command)


def test_an_output_must_not_be_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.onnx").write_bytes(QONNX_FILE.read_bytes())
    line = complaint(capsys, "import net.onnx -o net.onnx")
    assert "must not be network net.onnx, which is read" in line
    Path("net.onnx").write_bytes(network().SerializeToString())
    line = complaint(capsys, "quantize net.onnx --data digits -o net.onnx")
    assert "must not be network net.onnx, which is read" in line


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, "convert -o net.onnx --to onnx"],
)
def test_without_the_library_it_is_said_what_to_install(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not command.startswith("convert"):
        Path("net.onnx").write_bytes(network().SerializeToString())
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    line = complaint(capsys, command)
    assert "needs the library onnx: pip install 'asq-hw[onnx]'" in line


@pytest.mark.parametrize("source", ["float", "qonnx"])
def test_a_damaged_file_is_read_or_refused(source: str, tmp_path: Path) -> None:
    """Bytes are changed, left out and put in all over small files."""
    whole = network().SerializeToString() if source == "float" else QONNX_FILE.read_bytes()
    load = load_onnx if source == "float" else load_qonnx
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.onnx"
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        place = int(rng.integers(len(content)))
        match int(rng.integers(4)):
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                content[place] = int(rng.integers(256))
            case 2:
                del content[place : place + int(rng.integers(1, 9))]
            case _:
                content[place:place] = rng.bytes(int(rng.integers(1, 5)))
        path.write_bytes(content)
        try:
            load(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused > 20
