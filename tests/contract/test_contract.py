"""docs/arithmetic.md against the code: every example, rule, table and limit of the page."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asq_hw import modelfile
from asq_hw.errors import InputError
from asq_hw.modelfile import ModelFileError, codec, ends, safetensors
from asq_hw.modelfile.strict_json import Fields
from asq_hw.network import graph as network_module
from asq_hw.network import images, names
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.input_format import InputFormat
from asq_hw.network.layers import LAYER_KINDS, Conv, concat
from asq_hw.network.outputs import only_scores
from asq_hw.numbers import fixedpoint, grids, products, widths
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_step
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import APOT, POST, POT, SCHEMES, UNIFORM, Scheme, scheme_named
from asq_hw.oracle import arithmetic, codes
from asq_hw.sim import tensor_shapes
from asq_hw.sim.tensors import tensor_type
from tests.helpers.modelfiles import join, split
from tests.helpers.networks import (
    network_of_a_block,
    network_of_every_kind,
    network_of_every_step,
    network_of_functions,
    network_of_moved_maps,
    network_of_selected_maps,
    network_of_several_outputs,
    networks,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "arithmetic.md").read_text(encoding="utf-8")
SCHEMA = json.loads(
    (ROOT / "asq_hw" / "modelfile" / "graph.schema.json").read_text(encoding="utf-8")
)


# Examples

EXAMPLES = [
    line
    for block in re.findall(r"^```examples\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def code_by_oracle(scheme: str, bits: int, encoding: str, code: int) -> tuple[int, int]:
    return codes.grid_codes(scheme, bits, encoding).pairs[code]


def code_by_grid(scheme: str, bits: int, encoding: str, code: int) -> tuple[int, int]:
    grid = Grid(scheme=scheme_named(scheme), bits=bits, encoding=Encoding(encoding))
    return grid.decode_table()[code]


RULES: dict[str, dict[str, object]] = {
    "oracle": {
        "rshift": arithmetic.rshift,
        "rdiv": arithmetic.rdiv,
        "sat": arithmetic.sat,
        "clamp": arithmetic.clamp,
        "sqrt2": arithmetic.sqrt2,
        "R2": arithmetic.R2,
        "exp2": arithmetic.exp2,
        "code": code_by_oracle,
    },
    "fixedpoint": {
        "rshift": fixedpoint.shift_right_half_up,
        "rdiv": fixedpoint.divide_half_up,
        "sat": fixedpoint.saturate,
        "clamp": lambda value, low, high: min(max(value, low), high),
        "sqrt2": fixedpoint.sqrt2_times,
        "R2": fixedpoint.SQRT2_MULTIPLIER,
        "exp2": fixedpoint.exp2,
        "code": code_by_grid,
    },
}


@pytest.mark.parametrize("rules", RULES)
def test_every_worked_example_is_right(rules: str) -> None:
    assert len(EXAMPLES) > 50
    for line in EXAMPLES:
        expression, _, expected = line.rpartition(" = ")
        made = eval(expression, {"__builtins__": {"max": max}}, RULES[rules])
        assert made == ast.literal_eval(expected), line


def test_every_rule_of_the_first_section_has_an_example() -> None:
    text = "\n".join(EXAMPLES)
    assert all(f"{rule}(" in text for rule in RULES["oracle"] if rule != "R2")


# Rules by name


def rules_of_the_page() -> set[str]:
    return set(re.findall(r"\*\*([RL]-[a-z-]+)", PAGE))


def test_the_page_names_a_rule_once_and_uses_no_other() -> None:
    named = re.findall(r"\*\*([RL]-[a-z-]+)", PAGE)
    assert sorted(named) == sorted(set(named))
    assert set(re.findall(r"\b([RL]-[a-z]+(?:-[a-z]+)*)\b", PAGE)) == set(named)


def test_the_code_cites_every_rule_of_the_page_and_no_other() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "asq_hw").rglob("*.py"))
    cited = set(re.findall(r'"([RL]-[a-z-]+)"', source))
    cited |= {kind.rule() for kind in LAYER_KINDS.values()}
    assert cited == rules_of_the_page()


# Tables of fields


@dataclass(frozen=True)
class Row:
    """One row of a table of fields."""

    rule: str
    field: str
    kind: str
    low: int | None
    high: int | None


def tables() -> dict[str, list[Row]]:
    """The tables of fields, by the rule that stands above each."""
    found: dict[str, list[Row]] = {}
    pattern = r"\*\*(R-[a-z-]+)\*\*[^|\n]*\n\n\| field \| type \| range \| constraint \|\n(.*?)\n\n"
    for rule, body in re.findall(pattern, PAGE, re.DOTALL):
        rows = []
        for line in body.splitlines()[1:]:
            field, kind, limits, _ = (
                cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]
            )
            ends = (
                [int(end.replace("\N{MINUS SIGN}", "-")) for end in limits.split(" … ")]
                if limits
                else []
            )
            low, high = ends if ends else (None, None)
            rows.append(Row(rule=rule, field=field, kind=kind, low=low, high=high))
        found[rule] = rows
    return found


TABLES = tables()
PLACES: dict[str, tuple[str | int, ...]] = {
    "R-input": (0,),
    "R-conv": (2,),
    "R-linear": (10,),
    "R-pad": (1,),
    "R-select": (1,),
    "R-multiply": (3,),
    "R-lookup": (1,),
    "R-relu": (3,),
    "R-max-pool": (4,),
    "R-average-pool": (5,),
    "R-global-average-pool": (8,),
    "R-output": (2, "output"),
    "R-weights": (2, "weights"),
    "R-quantizer": (2, "quantizer"),
    "R-adapter": (1, "quantizer", "adapter"),
    "R-stage": (1, "quantizer", "adapter", "stages", 0),
    "R-log-linear": (1, "quantizer", "log_linear"),
    "R-shared-exponent": (2, "quantizer", "shared_exponent"),
    "R-shared-adapter": (2, "quantizer", "shared_adapter"),
}
"""Where an object of each table stands among the layers of `network_for` it."""


def network_for(rule: str) -> IntegerNetwork:
    """A network that has what a table describes."""
    if rule == "R-pad":
        return network_of_moved_maps()
    if rule == "R-select":
        return network_of_selected_maps()
    if rule in ("R-multiply", "R-lookup"):
        return network_of_functions()
    if rule == "R-shared-adapter":
        return network_of_a_block()
    steps = ("R-log-linear", "R-shared-exponent")
    return network_of_every_step() if rule in steps else network_of_every_kind()


def whole_graph(tmp_path: Path, rule: str = "") -> dict[str, Any]:
    path = tmp_path / "model.asq"
    modelfile.save(network_for(rule), path)
    graph: dict[str, Any] = json.loads(split(path.read_bytes())[0]["__metadata__"]["graph"])
    return graph


def part_of(graph: dict[str, Any], rule: str) -> dict[str, Any]:
    part: Any = graph["layers"]
    for key in PLACES[rule]:
        part = part[key]
    assert isinstance(part, dict)
    return part


def test_every_table_is_found() -> None:
    assert set(TABLES) == set(PLACES)
    assert sum(len(rows) for rows in TABLES.values()) > 50


def test_tables_name_exactly_the_fields_that_are_written(tmp_path: Path) -> None:
    for rule, rows in TABLES.items():
        graph = whole_graph(tmp_path, rule)
        fields = {row.field for row in rows if not row.field.startswith("tensor ")}
        written = set(part_of(graph, rule)) - {"kind", "name", "sources"}
        if rule == "R-quantizer":
            others = {"adapter", "log_linear", "shared_exponent", "shared_adapter"}
            assert fields - written == others
            fields -= others
        for kind, optional in (("R-conv", {"dilation"}), ("R-input", {"bits", "signed"})):
            if rule == kind:
                assert fields - written == optional
                fields -= optional
        assert written == fields, rule
    assert set(graph) - {"images"} == {"name", "metadata", "layers"}


def test_the_page_names_exactly_the_kinds() -> None:
    kinds = {kind.rule() for kind in LAYER_KINDS.values()}
    objects = {"R-output", "R-weights", "R-quantizer", "R-adapter", "R-stage"}
    objects |= {"R-log-linear", "R-shared-exponent", "R-shared-adapter"}
    assert set(TABLES) - objects | {"R-add", "R-concat", "R-flatten"} == kinds


def test_tables_name_exactly_the_tensors_with_type_and_rank() -> None:
    written: dict[str, set[tuple[str, str, int]]] = {}
    made = (
        network_of_every_kind(),
        network_of_every_step(),
        network_of_selected_maps(),
        network_of_functions(),
    )
    for layer in (layer for net in made for layer in net.layers):
        for name, (kind, values) in codec.encode_layer(layer)[1].items():
            field = name.partition("/")[2]
            rule = {"adapter": "R-stage", "log_linear": "R-log-linear"}.get(
                field.partition(".")[0], layer.rule()
            )
            field = re.sub(r"\d", "K", field) if rule == "R-stage" else field
            written.setdefault(rule, set()).add((field, kind, values.ndim))
    described = {
        rule: {
            (row.field.removeprefix("tensor "), row.kind[:3].strip(), row.kind.count(",") + 1)
            for row in rows
            if row.field.startswith("tensor ")
        }
        for rule, rows in TABLES.items()
    }
    assert {rule: tensors for rule, tensors in described.items() if tensors} == written


def refusal(path: Path, graph: dict[str, Any]) -> tuple[str, str | None]:
    """What is said of a file with another graph, and the rule; empty if it is read."""
    header, body = split(path.read_bytes())
    header["__metadata__"]["graph"] = json.dumps(graph)
    changed = path.with_name("changed.asq")
    changed.write_bytes(join(header, body))
    try:
        modelfile.load(changed)
    except ModelFileError as error:
        return str(error), error.rule
    return "", None


def test_sources_are_as_many_as_the_page_says(tmp_path: Path) -> None:
    counts = re.search(
        r"one name, of two for `add` and `multiply`, and of 2 to (\d+) for `concat`", PAGE
    )
    assert counts and int(counts[1]) == concat.MAX_SOURCES
    graph = whole_graph(tmp_path, "R-pad")
    for count, valid in ((1, False), (2, True), (256, True), (257, False)):
        changed = copy.deepcopy(graph)
        changed["layers"][3]["sources"] = ["wider"] * count
        said, rule = refusal(tmp_path / "model.asq", changed)
        assert (said == "") == valid
        assert VALIDATOR.is_valid(changed) == valid
        if not valid:
            assert rule == "R-concat" and f"must have 2 to 256 sources, not {count}" in said


def test_what_is_concatenated_has_one_height_width_and_format(tmp_path: Path) -> None:
    graph = whole_graph(tmp_path, "R-pad")
    graph["layers"][3]["sources"] = ["wider", "input"]
    said, rule = refusal(tmp_path / "model.asq", graph)
    assert "joined: all sources must have one height, width and format" in said and "input" in said
    assert rule is None or rule.startswith("R-")


def test_padding_adds_something(tmp_path: Path) -> None:
    graph = whole_graph(tmp_path, "R-pad")
    graph["layers"][1] |= {"rows": [0, 0], "columns": [0, 0]}
    said, rule = refusal(tmp_path / "model.asq", graph)
    assert "wider: padding must add something" in said and rule == "R-pad"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"first": [0, 0], "size": [3, 3]}, ""),
        ({"first": [1, 4], "size": [2, 1], "stride": [1, 64]}, ""),
        ({"size": [3, 3]}, "row 3 must be one of 3"),
        ({"size": [2, 4]}, "column 6 must be one of 5"),
        ({"first": [1, 1]}, "column 5 must be one of 5"),
        ({"stride": [2, 2]}, "row 3 must be one of 3"),
    ],
)
def test_what_is_selected_is_there(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    graph = whole_graph(tmp_path, "R-select")
    graph["layers"][1] |= changes
    found, rule = refusal(tmp_path / "model.asq", graph)
    assert VALIDATOR.is_valid(graph)
    assert found.endswith(f"part: {said} [R-select]") if said else found == ""
    assert rule == ("R-select" if said else None)


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ([1, 1, 0], ""),
        ([0], ""),
        ([2, 0, 0], "part: channel 2 must be one of 2"),
        ([0, -1], "part: channels must be in 0..2147483647, not -1..0"),
    ],
)
def test_selected_channels_are_there(channels: list[int], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    graph = whole_graph(tmp_path, "R-select")
    tensors = {}
    for layer in network_for("R-select").layers:
        tensors |= codec.encode_layer(layer)[1]
    tensors["part/channels"] = ("I32", np.array(channels))
    metadata = {"format": modelfile.file.FORMAT, "version": "5", "graph": json.dumps(graph)}
    safetensors.write(path, metadata, tensors)
    if not said:
        assert modelfile.load(path).feature_maps()["part"].shape == (len(channels), 2, 3)
        return
    with pytest.raises(ModelFileError, match=re.escape(f"{said} [R-select]")):
        modelfile.load(path)


@pytest.mark.parametrize(
    ("make", "version", "first"),
    [(network_of_moved_maps, 4, ("wider", "R-pad")), (network_of_functions, 5, ("up", "R-lookup"))],
)
def test_kinds_are_of_a_version_of_the_file(
    make: Callable[[], IntegerNetwork], version: int, first: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "model.asq"
    modelfile.save(make(), path)
    header, body = split(path.read_bytes())
    assert header["__metadata__"]["version"] == str(version)
    header["__metadata__"]["version"] = str(version - 1)
    path.write_bytes(join(header, body))
    name, rule = first
    said = rf"{name}: its kind needs version {version}, not {version - 1} \[{rule}]"
    with pytest.raises(ModelFileError, match=said):
        modelfile.load(path)


def test_outputs_and_integers_of_the_input_are_of_version_6(tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    modelfile.save(network_of_several_outputs(), path)
    header, body = split(path.read_bytes())
    assert header["__metadata__"]["version"] == "6"
    graph = json.loads(header["__metadata__"]["graph"])
    assert VALIDATOR.is_valid(graph)
    assert graph["outputs"] == [
        {"name": "below.0", "layer": "sum", "scores": False},
        {"name": "head", "layer": "head", "scores": True},
        {"name": "above", "layer": "relu", "scores": False},
    ]
    assert (graph["layers"][0]["bits"], graph["layers"][0]["signed"]) == (12, True)
    assert modelfile.load(path).outputs == network_of_several_outputs().outputs
    header["__metadata__"]["version"] = "5"
    path.write_bytes(join(header, body))
    with pytest.raises(ModelFileError, match=r"its bits and signed needs version 6, not 5"):
        modelfile.load(path)
    for field in ("bits", "signed"):
        del graph["layers"][0][field]
    assert "outputs" in refusal(path, graph)[0]


_OUT = {"name": "a", "layer": "relu", "scores": False}


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([_OUT], ""),
        ([_OUT | {"layer": "head", "scores": True}], ""),
        ([_OUT, _OUT | {"name": "b"}], ""),
        ([_OUT | {"name": f"a{n}"} for n in range(256)], ""),
        ([_OUT | {"layer": "input"}], ""),
        ([], "outputs must not be empty"),
        ([_OUT | {"name": f"a{n}"} for n in range(257)], "must have 1..256 outputs, not 257"),
        ([_OUT, _OUT], "the output a must be named once, not twice"),
        ([_OUT | {"layer": "missing"}], "the output a must be a layer's, not 'missing'"),
        (
            [_OUT | {"scores": True}, _OUT | {"name": "b", "scores": True}],
            "one output at most can be class scores, not both a and b",
        ),
        ([{"name": "a", "layer": "relu"}], "scores"),
        ([_OUT | {"scores": 1}], "must be true or false"),
        ([_OUT | {"step": 1}], "step"),
        ([_OUT | {"name": "a-b"}], "a-b"),
        ([_OUT | {"name": "a" * 65}], "64"),
        (["relu"], "output 1"),
        ("relu", "outputs"),
        (None, "outputs"),
    ],
)
def test_outputs_are_named_once_and_are_maps_of_layers(
    outputs: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.asq"
    modelfile.save(network_of_several_outputs(), path)
    graph = json.loads(split(path.read_bytes())[0]["__metadata__"]["graph"])
    graph["outputs"] = outputs
    found, rule = refusal(path, graph)
    assert said in found and bool(found) == bool(said)
    if said:
        assert rule in ("R-outputs", "R-name", "R-json", "R-graph")
    else:
        assert VALIDATOR.is_valid(graph)


def test_only_a_vector_can_be_class_scores(tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    modelfile.save(network_of_every_kind(), path)
    header, body = split(path.read_bytes())
    header["__metadata__"]["version"] = "6"
    path.write_bytes(join(header, body))
    graph = json.loads(header["__metadata__"]["graph"])
    graph["outputs"] = [{"name": "a", "layer": "relu", "scores": True}]
    said, rule = refusal(path, graph)
    assert "relu: a network's class scores must be (C, 1, 1), not (2, 3, 3)" in said
    assert rule == "R-outputs"
    graph["outputs"][0]["scores"] = False  # there are references, and names of classes
    said, rule = refusal(path, graph)
    assert "without class scores can have no reference predictions" in said
    assert rule == "R-reference"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bits": 2}, ""),
        ({"bits": 16}, ""),
        ({"bits": 1}, "an input's bits must be an integer in 2..16, not 1"),
        ({"bits": 17}, "an input's bits must be an integer in 2..16, not 17"),
        ({"bits": 8}, "bits must not stand where it is 8"),
        ({"signed": False}, "signed must not stand where it is False"),
        ({"signed": 1}, "signed must be true or false"),
    ],
)
def test_integers_of_an_input(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    modelfile.save(network_of_several_outputs(), path)
    graph = json.loads(split(path.read_bytes())[0]["__metadata__"]["graph"])
    graph["layers"][0] |= fields
    found, rule = refusal(path, graph)
    assert said in found and bool(found) == bool(said), found
    assert rule == ("R-input" if said else None)
    assert VALIDATOR.is_valid(graph) == (not said)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("3/2", ""),
        ("3", "multiplier must be within 1 of 6"),
        ("1/255", "step must not stand where it is 1/255"),
        ("1.5", "step must be a ratio of two numbers, not '1.5'"),
        ("nan", "step must be a ratio"),
        ("-3/2", "step must be a ratio"),
        ("0", "step must be a ratio"),
        ("3/0", "step must be a ratio"),
        ("1/10000000000001", "an input's step must be 1e-12..1e+12"),
        (f"1{'0' * 13}", "an input's step must be 1e-12..1e+12"),
        (1, "step"),
    ],
)
def test_the_step_of_an_input(step: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.asq"
    several = network_of_several_outputs()
    taken = replace(several.input, multiplier=np.array([3, 3, 3]), shift=1)
    spec = images.ImageSpec(
        shape=(3, 1, 1),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        format=InputFormat(bits=12, signed=True, step=Fraction(3, 2)),
    )
    modelfile.save(replace(several, layers=(taken, *several.layers[1:]), images=spec), path)
    assert modelfile.load(path).images == spec
    graph = json.loads(split(path.read_bytes())[0]["__metadata__"]["graph"])
    assert graph["images"]["step"] == "3/2"
    graph["images"]["step"] = step
    found, rule = refusal(path, graph)
    assert said in found and bool(found) == bool(said), found
    assert rule == ("R-images" if said else None)


def test_a_dilation_stands_where_it_is_not_1_and_from_its_version_on(tmp_path: Path) -> None:
    graph = whole_graph(tmp_path)
    path = tmp_path / "model.asq"
    assert "dilation" not in graph["layers"][1]
    for dilation, complaint in (
        ([1, 1], "dilation must not stand where it is (1, 1)"),
        ([1, 2], "stem.0: its dilation needs version 5, not 2"),
    ):
        graph["layers"][1]["dilation"] = dilation
        said, rule = refusal(path, graph)
        assert complaint in said and rule == "R-conv"
    layers = list(network_of_every_kind().layers)
    assert isinstance(layers[1], Conv)
    layers[1] = replace(layers[1], dilation=(2, 1), padding=(2, 1))
    dilated = replace(network_of_every_kind(), layers=tuple(layers))
    modelfile.save(dilated, path)
    header, _ = split(path.read_bytes())
    assert header["__metadata__"]["version"] == "5"
    graph = json.loads(header["__metadata__"]["graph"])
    assert graph["layers"][1]["dilation"] == [2, 1] and VALIDATOR.is_valid(graph)
    read = modelfile.load(path).layers[1]
    assert isinstance(read, Conv) and read.dilation == (2, 1)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["up", "mean"], ""),
        (["up", "up"], ""),
        (["up", "input"], ""),
        (["mean", "up"], "second source must be that of the first or 1, not (2, 3, 4) beside"),
        (["up"], "a multiplication must have two sources, not 1"),
        (["up", "mean", "mean"], "a multiplication must have two sources, not 3"),
    ],
)
def test_a_product_is_of_maps_that_meet(sources: list[str], said: str, tmp_path: Path) -> None:
    graph = whole_graph(tmp_path, "R-multiply")
    graph["layers"][3]["sources"] = sources
    found, rule = refusal(tmp_path / "model.asq", graph)
    assert said in found and bool(found) == bool(said)
    assert rule == ("R-multiply" if said else None)


@pytest.mark.parametrize(
    ("shape", "shift", "said"),
    [
        ((1, 17), 12, ""),
        ((2, 17), 12, ""),
        ((2, 2), 16, ""),
        ((1, 4097), 4, ""),
        ((3, 17), 12, "there must be one table, or one for each of 2 channels, not 3"),
        ((1, 17), 11, "16 segments of 2**11 must cover the 16 bits of its source"),
        ((1, 17), 13, "16 segments of 2**13 must cover the 16 bits of its source"),
        ((1, 16), 12, "there must be one value more than a power of two up to 4096, not 16"),
        ((1, 1), 16, "there must be one value more than a power of two up to 4096, not 1"),
        ((1, 8193), 3, "there must be one value more than a power of two up to 4096, not 8193"),
    ],
)
def test_tables_cover_their_source(
    shape: tuple[int, int], shift: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.asq"
    graph = whole_graph(tmp_path, "R-lookup")
    graph["layers"][1]["shift"] = shift
    tensors = {}
    for layer in network_for("R-lookup").layers:
        tensors |= codec.encode_layer(layer)[1]
    tensors["up/values"] = ("I32", np.zeros(shape, dtype=np.int64))
    metadata = {"format": modelfile.file.FORMAT, "version": "5", "graph": json.dumps(graph)}
    safetensors.write(path, metadata, tensors)
    if not said:
        modelfile.load(path)
        return
    with pytest.raises(ModelFileError, match=re.escape(f"up: {said}")) as caught:
        modelfile.load(path)
    assert caught.value.rule == "R-lookup"


BOUNDED = ("R-stage", "R-log-linear", "R-shared-exponent", "R-shared-adapter")
"""Tables with a minimum and a maximum that bound each other."""
OPTIONAL = ("R-input", "bits")
RANGES = [
    row
    for rows in TABLES.values()
    for row in rows
    if row.low is not None and (row.rule, row.field) != OPTIONAL
]


@pytest.mark.parametrize("row", RANGES, ids=lambda row: f"{row.rule}.{row.field}")
def test_a_range_of_the_page_is_the_readers(tmp_path: Path, row: Row) -> None:
    graph = whole_graph(tmp_path, row.rule)
    assert row.low is not None and row.high is not None

    def said_of(value: int) -> tuple[str, str | None]:
        changed = copy.deepcopy(graph)
        part_of(changed, row.rule)[row.field] = [value, value] if row.kind == "pair" else value
        if row.rule in BOUNDED and row.field == "minimum":
            part_of(changed, row.rule)["maximum"] = row.high
        if row.rule in BOUNDED and row.field == "maximum":
            part_of(changed, row.rule)["minimum"] = row.low
        return refusal(tmp_path / "model.asq", changed)

    complaint = rf"(must be|bits must be)( an integer in)? {row.low}\.\.{row.high}, not "
    for value in (row.low, row.high):
        assert not re.search(complaint, said_of(value)[0])
    for value in (row.low - 1, row.high + 1):
        message, rule = said_of(value)
        assert re.search(complaint + str(value), message)
        assert rule == row.rule


def test_a_quantizer_has_one_step(tmp_path: Path) -> None:
    graph = whole_graph(tmp_path)
    neither = copy.deepcopy(graph)
    del neither["layers"][2]["quantizer"]["step"]
    assert refusal(tmp_path / "model.asq", neither)[1] == "R-quantizer"
    exponents = whole_graph(tmp_path, "R-log-linear")
    steps = {"step": 3, "adapter": graph["layers"][1]["quantizer"]["adapter"]}
    for layer in (1, 2):
        steps |= exponents["layers"][layer]["quantizer"]
    steps |= whole_graph(tmp_path, "R-shared-adapter")["layers"][2]["quantizer"]
    for made in (graph, exponents):
        modelfile.save(network_for("R-log-linear" if made is exponents else ""), tmp_path / "m")
        for layer in (1, 2):
            for field in ("step", "adapter", "log_linear", "shared_exponent", "shared_adapter"):
                both = copy.deepcopy(made)
                if field in both["layers"][layer]["quantizer"]:
                    continue
                both["layers"][layer]["quantizer"][field] = steps[field]
                assert refusal(tmp_path / "m", both)[1] in ("R-quantizer", "R-tensors"), field


@pytest.mark.parametrize(("made", "version"), [(network_of_every_step, 3), (network_of_a_block, 6)])
def test_steps_need_their_version(
    made: Callable[[], IntegerNetwork], version: int, tmp_path: Path
) -> None:
    path = tmp_path / "model.asq"
    modelfile.save(made(), path)
    header, body = split(path.read_bytes())
    assert header["__metadata__"]["version"] == str(version)
    header["__metadata__"]["version"] = str(version - 1)
    path.write_bytes(join(header, body))
    with pytest.raises(
        ModelFileError, match=f"needs version {version}, not {version - 1}"
    ) as caught:
        modelfile.load(path)
    assert caught.value.rule == "R-quantizer"


def test_a_network_may_be_named_reference_and_a_layer_not(tmp_path: Path) -> None:
    graph = whole_graph(tmp_path)
    graph["name"] = "reference"
    assert refusal(tmp_path / "model.asq", graph) == ("", None)
    graph["layers"][3]["name"] = "reference"
    assert refusal(tmp_path / "model.asq", graph)[1] == "R-name"


# Limits and widths


def number_of(rule: str) -> int:
    found = re.search(rf"\| \*\*{rule}\*\* \| (\d+) ", PAGE)
    assert found is not None, rule
    return int(found[1])


def test_limits_of_the_reader_are_the_pages() -> None:
    limits = {
        "L-file-bytes": safetensors.MAX_FILE_BYTES,
        "L-header-bytes": safetensors.MAX_HEADER_BYTES,
        "L-tensor-count": safetensors.MAX_TENSORS,
        "L-layer-count": modelfile.file.MAX_LAYERS,
        "L-tensor-elements": modelfile.file.MAX_SMALL_ELEMENTS,
        "L-map-elements": network_module.MAX_FEATURES,
    }
    assert {rule: number_of(rule) for rule in limits} == limits
    assert rules_of_the_page() >= {*limits, "L-nesting", "L-width", "L-version"}


def test_widths_are_the_pages() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| (\d+), (?:un)?signed \|$", PAGE, re.MULTILINE))
    assert {int(bits) for bits in rows.values()} == {8, 16, 32}
    assert rows == {
        "step `D`, a stage's outputs, `minimum`, `maximum`": str(widths.STEP_BITS),
        "`multiplier` of a layer": str(widths.MULTIPLIER_BITS),
        "`multiplier` of pooling, adapter, log-linear step and shared adapter": str(
            widths.MULTIPLIER_BITS
        ),
        "biases, an input's multipliers, offsets, a table's values": str(widths.BIAS_BITS),
        "weights of adapters and log-linear steps": str(widths.ADAPTER_BITS),
    }
    assert f"`S ≤ {widths.MAX_WEIGHT_SHIFT}`" in PAGE
    assert f"`S > {widths.MAX_WEIGHT_SHIFT}`" in PAGE
    assert f"at most {names.MAX_NAME_LENGTH} characters. No layer" in PAGE
    assert f"`{names._NAME.pattern}`" in PAGE
    assert f"1 to {safetensors.MAX_RANK} integers of at least 1" in PAGE
    assert "`U8`, `U16`, `I8`, `I16` or `I32`" in PAGE
    assert list(safetensors._DTYPES) == ["U8", "U16", "I8", "I16", "I32"]


def test_products_are_the_pages() -> None:
    assert f"with `f` fraction bits (0 … {products.MAX_LUT_FRACTION_BITS})" in PAGE
    assert products.SPLIT_FRACTION_BITS == 4
    assert fixedpoint.SQRT2_FRACTION_BITS == 15
    for grid in every_grid():
        has_sqrt2 = codes.grid_codes(str(grid.scheme), grid.bits, str(grid.encoding)).has_sqrt2
        assert has_sqrt2 == (
            grid.scheme is POST and (grid.bits, grid.encoding) != (2, Encoding.PACKED)
        )
        assert Product().fraction_bits(grid) == (4 if has_sqrt2 else 0)
        lut = Product(kind=ProductKind.POST_LUT, lut_fraction_bits=7)
        assert lut.fraction_bits(grid) == (7 if has_sqrt2 else 0)
        dual = Product(kind=ProductKind.POST_DUAL, lut_fraction_bits=7)
        assert dual.fraction_bits(grid) == 0
        assert dual.uses_odd_codes(grid) == has_sqrt2
    assert "`DO` is 1 … 46340" in PAGE
    assert (odd_step(1), odd_step(65535)) == (1, 46340)


def every_grid() -> Iterator[Grid]:
    for scheme in SCHEMES.values():
        for bits in range(grids.MIN_BITS, grids.MAX_BITS + 1):
            for encoding in scheme.encodings:
                yield Grid(scheme=scheme, bits=bits, encoding=encoding)


def formula(text: str, **values: int) -> int:
    """A formula of the page, such as ``2^(b−1) − 2``, with values for its letters."""
    python = text.replace("\N{MINUS SIGN}", "-").replace("·", "*").replace("^", "**")
    python = python.replace("m/2", "m // 2").replace("mod", "%")
    return int(eval(python, {"__builtins__": {}, "floor": int}, values))


def table_below(header: str) -> list[list[str]]:
    """Cells of a table, without backticks."""
    body = PAGE.partition(header)[2].partition("\n\n")[0]
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines]


def test_common_shifts_are_the_pages() -> None:
    rows = table_below("| scheme | `S` where `packed` | `S` in the other encodings |")
    shifts = {scheme: (packed.partition(";")[0], other) for scheme, packed, other in rows}
    assert set(shifts) == set(SCHEMES)
    widest: dict[tuple[Scheme, Encoding], int] = {}
    for grid in every_grid():
        text = shifts[grid.scheme.name][grid.encoding is not Encoding.PACKED]
        assert grid.shift == formula(text, b=grid.bits, m=grid.bits - 1), grid
        if grid.shift <= widths.MAX_WEIGHT_SHIFT:
            widest[grid.scheme, grid.encoding] = grid.bits
            assert grid.stored_bits <= 8
    assert widest[UNIFORM, Encoding.PACKED] == widest[APOT, Encoding.PACKED] == 8
    assert {widest[POT, encoding] for encoding in Encoding} == {6}
    assert [widest[POST, encoding] for encoding in Encoding] == [7, 6, 6]


def test_encodings_are_the_pages() -> None:
    rows = table_below("| encoding | stored bits | index | exponent `n` | zero |")
    assert [row[0] for row in rows] == list(Encoding)
    for encoding, stored, indices, exponent, zero in rows:
        for b in range(2, 9):
            grid = Grid(scheme=POT, bits=b, encoding=Encoding(encoding))
            assert grid.stored_bits == formula(stored, b=b)
            first, last = (formula(end, b=b) for end in indices.split(" … "))
            positive = {level.code: level.shift for level in grid.levels if level.even > 0}
            assert positive == {
                index: formula(exponent, b=b, index=index) for index in range(first, last + 1)
            }
            assert [level.code for level in grid.levels if level.even == 0] == (
                [] if zero == "none" else [int(zero.removeprefix("code "))]
            )


def test_versions_are_the_pages() -> None:
    table = PAGE.partition("| version | adds |")[2].partition("\n\n")[0]
    versions = [int(version) for version in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert versions == list(range(1, modelfile.file.VERSION + 1))


# Traces


def test_traces_are_the_pages() -> None:
    table = PAGE.partition("| tensor | shape | holds | written as |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`LAYER[^|]*) \|.*\| `(int\d+)` \|$", table, re.MULTILINE)
    described = {
        name.strip("`").removeprefix("LAYER"): kind
        for names, kind in rows
        for name in names.split(", ")
    }
    net = network_of_every_kind()
    made: dict[str, str] = {}
    for product in [Product(kind=kind) for kind in ProductKind]:
        for name in tensor_shapes(net, product):
            layer, dash, part = name.partition("-")
            assert layer in net.feature_maps()
            made[f"{dash}{part}"] = str(np.dtype(tensor_type(name)))
    assert made == described


# The schema

VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def graph_of(network: IntegerNetwork) -> dict[str, Any]:
    layers = [codec.encode_layer(layer)[0] for layer in network.layers]
    graph: dict[str, Any] = {
        "name": network.name,
        "metadata": dict(network.metadata),
        "layers": layers,
    }
    if network.outputs != only_scores(network.layers[-1].name):
        graph["outputs"] = ends.encode_outputs(network.outputs)
    plain: dict[str, Any] = json.loads(json.dumps(graph))
    return plain


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@settings(max_examples=100)
@given(drawn=networks())
def test_the_schema_takes_every_valid_graph(drawn: IntegerNetwork) -> None:
    VALIDATOR.validate(graph_of(drawn))


class _AnyTensors:
    """The tensors of a network, by name."""

    def __init__(self, network: IntegerNetwork) -> None:
        self._tensors = {}
        for layer in network.layers:
            self._tensors |= codec.encode_layer(layer)[1]

    def take(self, name: str, dtype: str, rank: int) -> Any:
        if name not in self._tensors:
            raise InputError("missing")
        return self._tensors[name][1]


def is_read(graph: Any, network: IntegerNetwork) -> bool:
    """Whether the codec takes the graph with the network's tensors."""
    try:
        fields = Fields("graph", graph)
        layers = [
            codec.decode_layer(value, number, _AnyTensors(network))
            for number, value in enumerate(fields.array("layers"), 1)
        ]
        IntegerNetwork(
            name=fields.string("name"),
            layers=tuple(layers),
            outputs=ends.decode_outputs(fields.array("outputs")) if fields.has("outputs") else (),
            metadata=fields.string_mapping("metadata"),
        )
        fields.finish()
    except InputError:
        return False
    return True


def places_in(tree: Any) -> list[tuple[Any, Any]]:
    keys = (
        list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    )
    return [place for key in keys for place in [(tree, key), *places_in(tree[key])]]


WILD: list[Callable[[Any], Any]] = [
    lambda value: value + 1 if type(value) is int else "x",
    lambda value: value - 1 if type(value) is int else [],
    lambda value: -1,
    lambda value: 2**40,
    lambda value: None,
    lambda value: True,
    lambda value: [value],
    lambda value: {"bits": value},
    lambda value: "reference",
    lambda value: [2, 2],
    lambda value: "paper",
    lambda value: "uniform",
]


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_the_reader_takes_the_schema_takes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    makers = (
        network_of_every_kind,
        network_of_every_step,
        network_of_a_block,
        network_of_moved_maps,
        network_of_selected_maps,
        network_of_functions,
        network_of_several_outputs,
    )
    network = makers[rng.choice(7, p=(0.3, 0.15, 0.1, 0.1, 0.1, 0.15, 0.1))]()
    graph = graph_of(network)
    places = places_in(graph)
    parent, key = places[rng.integers(len(places))]
    match int(rng.integers(4)):
        case 0 if isinstance(parent, dict):
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent["more"] = 1
        case _:
            parent[key] = WILD[rng.integers(len(WILD))](parent[key])
    if is_read(graph, network):
        VALIDATOR.validate(graph)


@pytest.mark.parametrize("row", RANGES, ids=lambda row: f"{row.rule}.{row.field}")
def test_the_schema_has_the_ranges_of_the_page(row: Row) -> None:
    graph = graph_of(network_for(row.rule))
    assert row.low is not None and row.high is not None
    for value, valid in (
        (row.low, True), (row.high, True), (row.low - 1, False), (row.high + 1, False)
    ):  # fmt: skip
        changed = copy.deepcopy(graph)
        part_of(changed, row.rule)[row.field] = [value, value] if row.kind == "pair" else value
        if (row.rule, row.field, value) == ("R-weights", "bits", row.high):
            continue  # beyond S <= 31 for the example's pot grid
        assert VALIDATOR.is_valid(changed) == valid, value


@pytest.mark.parametrize("rule", PLACES)
def test_the_schema_refuses_missing_and_unknown_fields(rule: str) -> None:
    graph = graph_of(network_for(rule))
    for field in part_of(graph, rule):
        changed = copy.deepcopy(graph)
        del part_of(changed, rule)[field]
        assert not VALIDATOR.is_valid(changed), field
    part_of(graph, rule)["more"] = 1
    assert not VALIDATOR.is_valid(graph)


def test_the_schema_knows_which_grids_there_are() -> None:
    graph = graph_of(network_of_every_kind())
    for scheme in SCHEMES.values():
        for bits in range(2, 9):
            for encoding in Encoding:
                weights = {"scheme": str(scheme), "bits": bits, "encoding": str(encoding)}
                graph["layers"][2]["weights"] = weights
                try:
                    grid = Grid(scheme=scheme, bits=bits, encoding=encoding)
                    exists = grid.shift <= widths.MAX_WEIGHT_SHIFT
                except InputError:
                    exists = False
                assert VALIDATOR.is_valid(graph) == exists, weights


# The images that a network takes


def test_images_are_the_pages() -> None:
    text = PAGE.partition("**R-images.**")[2].partition("**R-tensors.**")[0]
    assert f"of 1 to {images.MAX_CLASS_NAME} printable characters" in text
    assert f"at most {images.MAX_MAGNITUDE:.0f} in magnitude" in text
    assert f"at least {1 / images.MAX_MAGNITUDE:f}" in text
    assert f"`{ends.DECIMAL.pattern}`" in text
    found = SCHEMA["$defs"]
    assert found["reals"]["items"]["pattern"] == f"^{ends.DECIMAL.pattern}$"
    assert found["images"]["properties"]["classes"]["items"]["maxLength"] == images.MAX_CLASS_NAME


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a", "a", "b"]},
        {"classes": ["a", "", "b"]},
        {"mean": [0.5, 0.5]},
        {"std": ["1,5", "1"]},
        {"more": None},
    ],
)
def test_the_schema_refuses_images(tmp_path: Path, change: dict[str, Any]) -> None:
    modelfile.save(network_of_every_kind(), tmp_path / "model.asq")
    header, _ = split((tmp_path / "model.asq").read_bytes())
    graph = json.loads(header["__metadata__"]["graph"])
    assert VALIDATOR.is_valid(graph)
    graph["images"] |= change
    assert not VALIDATOR.is_valid(graph)
