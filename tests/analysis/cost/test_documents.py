"""Every table and listing in docs/overhead.md is what the command above it prints."""

import re
import shlex
from pathlib import Path

import pytest

from asq_hw.cli import main

DOCUMENT = Path(__file__).parents[3] / "docs" / "overhead.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
TABLES = re.findall(r"^`asq-hw (.+ --format markdown)`\n\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
LISTINGS = re.findall(r"^```console\n\$ asq-hw (.+)\n((?:.*\n)+?)```", TEXT, re.MULTILINE)


def test_the_document_has_its_tables():
    assert len(TABLES) == 9
    assert len(LISTINGS) == 1


@pytest.mark.parametrize(("command", "table"), TABLES)
def test_tables_are_printed(command, table, capsys):
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == table


@pytest.mark.parametrize(("command", "listing"), LISTINGS)
def test_listings_are_printed_line_by_line_in_order(command, listing, capsys):
    assert main(shlex.split(command)) == 0
    printed = iter(capsys.readouterr().out.splitlines())
    for line in listing.splitlines():
        assert line == "..." or line in printed


def test_figures_are_there():
    figures = re.findall(r"!\[[^]]*]\(([^)]+)\)", TEXT)
    assert len(figures) == 2
    assert all((DOCUMENT.parent / figure).is_file() for figure in figures)


def test_depthwise_break_even():
    """C^2 / 4 against 9 C, where the document says the adapter becomes the larger one."""
    assert "from 36 channels on" in TEXT
    larger = [c for c in range(8, 200) if c * (c // 4) + c // 4 > 9 * c]
    assert min(larger) == 36 and larger == list(range(36, 200))
