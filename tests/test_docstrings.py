"""What docstrings promise: parameters are explained, and examples give what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for package in ("asq_hw", "rtl", "analysis") for path in (ROOT / package).rglob("*.py")
]
WITH_EXAMPLES = {
    "analysis.cost.networks": ["find_network"],
    "analysis.cost.overhead": ["overhead"],
    "asq_hw.datasets": ["load", "open_dataset"],
    "asq_hw.interface.calibrate": ["calibrate"],
    "asq_hw.interface.check": ["check"],
    "asq_hw.interface.prepare": ["prepare"],
    "asq_hw.modelfile.file": ["load", "save"],
    "asq_hw.numbers.fixedpoint": ["saturate", "shift_right_half_up", "sqrt2_times"],
    "asq_hw.numbers.grids": ["Grid"],
    "asq_hw.numbers.products": ["Product"],
    "asq_hw.numbers.schemes": ["scheme_named"],
    "asq_hw.oracle.execution": ["predict", "run"],
    "asq_hw.sim.engine": ["simulate"],
    "asq_hw.sim.trace": ["compare_traces", "write_trace"],
    "asq_hw.train.graph.conversion": ["quantize"],
    "asq_hw.train.models": ["build"],
    "asq_hw.train.recipes": ["load"],
    "rtl.mac.design": ["Mac"],
    "rtl.quantizer.of_layer": ["LayerUnits"],
    "rtl.registry": ["Registry.find"],
}
"""What users call, by module."""
MOST_UNEXPLAINED = 3
"""Parameters that a function may have without a section that explains them."""
PARAMETERS = re.compile(r"Parameters( of the kernel)?\n-+\n|Parameters are those of `[\w.]+`")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in SOURCES}
TESTED = sorted(name for name, path in MODULES.items() if ">>> " in path.read_text("utf-8"))


def public_functions(body: list[ast.stmt], exported: set[str]) -> Iterator[tuple[Function, str]]:
    """Functions that others may call, each with the docstring that explains its parameters."""
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name in exported:
            names = {each.name for each in node.body if isinstance(each, Function)}
            public = {name for name in names if not name.startswith("_")}
            yield from public_functions(node.body, public)
            for each in node.body:
                if isinstance(each, Function) and each.name == "__init__":
                    yield each, ast.get_docstring(node) or ""
        elif isinstance(node, Function) and node.name in exported:
            yield node, ast.get_docstring(node) or ""


def exported_by(tree: ast.Module) -> set[str]:
    """Names in ``__all__``."""
    lists = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    ]
    return {name for each in lists for name in ast.literal_eval(each)}


def parameters_of(function: Function) -> list[str]:
    spec = function.args
    names = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls", "typingctx")]


def is_command(path: Path, function: Function) -> bool:
    """Whether each parameter is an option of the command line, which has a help text."""
    options = [each.annotation for each in (*function.args.args, *function.args.kwonlyargs)]
    said = [ast.unparse(each) for each in options if each is not None]
    return path.parent.name == "cli" and all(
        each.startswith("Annotated[") or each.endswith(("Option", "Argument")) for each in said
    )


def test_many_parameters_are_explained() -> None:
    checked, missing = 0, []
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function, docstring in public_functions(tree.body, exported_by(tree)):
            if len(parameters_of(function)) > MOST_UNEXPLAINED and not is_command(path, function):
                checked += 1
                if not PARAMETERS.search(docstring):
                    missing.append(f"{name}.{function.name}")
    assert missing == []
    assert checked > 80


@pytest.mark.parametrize("module", TESTED)
def test_examples_give_what_they_say(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.FAIL_FAST)
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_what_users_call_has_an_example(module: str) -> None:
    for name in WITH_EXAMPLES[module]:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        examples = doctest.DocTestParser().get_examples(found.__doc__ or "")
        assert any(example.want for example in examples), name
        assert "Examples\n" in (found.__doc__ or ""), name
