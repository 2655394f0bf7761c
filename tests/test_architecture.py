"""Who may import whom, what a start-up loads, and what the documents promise."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from asq_hw.cli.app import worked_examples
from asq_hw.sim.instruction_sets import Kernel

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numba", "amaranth", "pandas", "matplotlib"}


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def test_import_rules_hold() -> None:
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-logo'])"
    result = run_python("-c", code)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_has_its_place_in_the_layers() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = {module for layer in layers for module in layer.split(" : ")}
    package = {path.stem for path in (ROOT / "asq_hw").glob("[!_]*.py")}
    package |= {path.parent.name for path in (ROOT / "asq_hw").glob("*/__init__.py")}
    assert {f"asq_hw.{name}" for name in package} == placed - {"analysis", "rtl"}


def modules_loaded_by(code: str) -> set[str]:
    result = run_python("-c", f"import sys\n{code}\nprint('loaded', *sys.modules, file=sys.stderr)")
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split("loaded", 1)[1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import asq_hw",
        "from asq_hw.cli import main; assert main(['--help']) == 0",
        "from asq_hw.cli import main; assert main(['overhead', 'resnet18']) == 0",
        "from asq_hw.cli import main; assert main(['doctor', '--format', 'json']) == 0",
        "from asq_hw.cli import main; assert main(['train', '--help']) == 0",
        "from asq_hw.cli import main; assert main(['simulate', '--help']) == 0",
        "from asq_hw.cli import main; assert main(['levels', 'post', '--bits', '4']) == 0",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    assert not HEAVY & modules_loaded_by(code)


def test_simulation_loads_no_torch() -> None:
    code = "from asq_hw.cli import main; assert main(['simulate', '--limit', '2']) == 0"
    loaded = modules_loaded_by(code)
    assert "numba" in loaded
    assert not {"torch", "pandas", "matplotlib"} & loaded


def test_the_document_of_the_command_line_names_exactly_its_commands() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = re.findall(r"^## `asq-hw (\w+)", text, re.MULTILINE)
    assert documented == list(worked_examples())


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(
        f"docs/{name}.md"
        for name in (
            "README",
            "architecture",
            "arithmetic",
            "cli",
            "conformance",
            "extending",
            "glossary",
            "reliability",
            "simulation",
        )
    ),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_the_documents_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    broken = [target for target in targets if not (path.parent / target).exists()]
    assert not broken


def test_what_the_glossary_names_is_there() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    places = [row.rpartition("| `")[2] for row in text.splitlines() if row.endswith("` |")]
    named = [place for row in places for place in re.findall(r"[\w./]+/[\w./]*", row)]
    assert len(named) > 40
    assert [place for place in named if not (ROOT / place).exists()] == []


def test_the_page_of_the_simulator_lists_the_instruction_sets() -> None:
    text = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    assert rows == [(str(kernel), kernel.text) for kernel in Kernel]


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    files = [
        path for folder in ("asq_hw", "rtl", "analysis") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 20
    assert [p.name for p in files if len(p.read_text(encoding="utf-8").splitlines()) > 400] == []


MOST_MODULES = 6
MOST_PLACES = 10


def test_the_package_is_made_of_rooms() -> None:
    alone = [path.name for path in (ROOT / "asq_hw").glob("*.py")]
    assert len(alone) <= MOST_MODULES, alone


def test_each_journey_is_straight_and_leads_through_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(sections) == 3
    for section in sections:
        places = re.findall(r"^\d+\. \[`(\w+)`\]\(\.\./([\w/]+\.py)\)", section, re.MULTILINE)
        assert 5 <= len(places) <= MOST_PLACES
        assert len(places) == len(re.findall(r"^\d+\.", section, re.MULTILINE))
        for name, path in places:
            source = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), (name, path)


def test_the_drawing_of_the_rooms_can_be_made(tmp_path: Path) -> None:
    result = run_python("docs/architecture.py", str(tmp_path / "rooms.svg"))
    assert result.returncode == 0, result.stderr
    drawing = (tmp_path / "rooms.svg").read_text(encoding="utf-8")
    for label in ("asq_hw/cli", "asq_hw/numbers", "rtl", "A weight from a checkpoint to Verilog"):
        assert f">{label}<" in drawing
