"""The records of a program: every field is filled in by name, and read by a kernel."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import asq_hw
from asq_hw import modelfile
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product
from asq_hw.sim import records
from asq_hw.sim.engine import Run
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.kernel_choice import available_kernels
from asq_hw.sim.plain_records import AddRecord
from asq_hw.sim.program import ComputeType, Kind, Method, Program, Requantization
from asq_hw.sim.records import OutputRange, table_type
from tests.helpers import networks

BUNDLED = Path(asq_hw.__file__).parent / "bundled" / "fashion-mnist-resnet20-w4a4.asq"
KERNELS = Path(asq_hw.__file__).parent / "sim" / "kernels"
RECORDS = [
    value
    for name, value in vars(records).items()
    if name.endswith("Record") or name == "OutputRange"
]


def test_every_field_is_read_by_a_kernel() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in KERNELS.glob("*.py")]
    read = {
        node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    assert len(RECORDS) > 10
    unread = {f"{record.__name__}.{name}" for record in RECORDS for name in record._fields}
    assert {name for name in unread if name.rpartition(".")[2] not in read} == set()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_comes_back_from_its_table(record: type[tuple[object, ...]]) -> None:
    def numbered(fields: np.dtype[np.void], first: int) -> tuple[object, ...]:
        values: list[object] = []
        for number, name in enumerate(fields.names or ()):
            kind = fields[name]
            at = first + 100 * number
            values.append(numbered(kind, at + 1) if kind.names else at)
        return tuple(values)

    kind = table_type(record)
    row = numbered(kind, 7)
    (back,) = np.array([row], dtype=kind)
    assert back.tolist() == row
    assert [getattr(back, name) for name in kind.names if not kind[name].names] == [
        value for value in row if isinstance(value, int)
    ]


def test_a_missing_or_misspelt_field_is_an_error() -> None:
    ends = OutputRange(low=0, high=1, floor=0, ceiling=1)
    with pytest.raises(TypeError, match="values"):
        AddRecord(source=0, other=0, destination=0, range=ends)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="vlaues"):
        AddRecord(source=0, other=0, destination=0, vlaues=1, range=ends)  # type: ignore[call-arg]


def _changed(run: Run, **tables: np.ndarray) -> Run:
    run.plan = replace(run.plan, program=run.plan.program._replace(**tables))
    return run


def _compute(network: IntegerNetwork, kernel: Kernel, change: object) -> None:
    shape = (network.input.channels, network.input.height, network.input.width)
    images = np.zeros((1, *shape), dtype=np.uint8)
    run = Run(network, images, product=Product(), kernel=kernel)
    program = run.plan.program
    steps, convolutions = program.steps.copy(), program.convolutions.copy()
    change(steps, convolutions)  # type: ignore[operator]
    _changed(run, steps=steps, convolutions=convolutions)
    run.compute(run.memory(1), 0, 1)


def _unknown_kind(steps: np.ndarray, convolutions: np.ndarray) -> None:
    steps["kind"][-1] = len(Kind)


def _unknown_compute_type(steps: np.ndarray, convolutions: np.ndarray) -> None:
    convolutions["compute_type"] = len(ComputeType)


def _unknown_method(steps: np.ndarray, convolutions: np.ndarray) -> None:
    convolutions["dot"]["method"] = len(Method)


def _unknown_requantization(steps: np.ndarray, convolutions: np.ndarray) -> None:
    convolutions["requantization"]["method"] = len(Requantization)


@pytest.mark.parametrize("kernel", available_kernels())
@pytest.mark.parametrize(
    ("change", "problem"),
    [(_unknown_kind, "kind of step"), (_unknown_compute_type, "compute type")],
)
def test_what_no_kernel_computes_is_an_error(kernel: Kernel, change: object, problem: str) -> None:
    with pytest.raises(ValueError, match=f"no kernel for this {problem}"):
        _compute(modelfile.load(BUNDLED), kernel, change)


@pytest.mark.parametrize(
    "kernel", [kernel for kernel in available_kernels() if kernel is not Kernel.PORTABLE]
)
@pytest.mark.parametrize(
    ("change", "problem"),
    [(_unknown_method, "method"), (_unknown_requantization, "requantization")],
)
def test_what_no_vector_kernel_computes_is_an_error(
    kernel: Kernel, change: object, problem: str
) -> None:
    with pytest.raises(ValueError, match=f"no kernel for this {problem}"):
        _compute(modelfile.load(BUNDLED), kernel, change)


def test_every_kind_of_step_has_a_table() -> None:
    tables = {name.rstrip("s") for name in Program._fields}
    assert {kind.name.lower() for kind in Kind} <= tables
    plan = ["conv", "relu", "add", "max_pool", "average_pool", "pad", "multiply"]
    plan += ["select", "lookup", "flatten", "linear"]
    network = networks.random_network(1, plan)
    images = networks.random_images(network, 1, 1)
    run = Run(network, images, product=Product(), kernel=Kernel.PORTABLE, keep=True)
    steps = run.plan.program.steps
    for kind in Kind:
        table = getattr(run.plan.program, f"{kind.name.lower()}s")
        assert steps["row"][steps["kind"] == kind].tolist() == list(range(len(table))), kind
