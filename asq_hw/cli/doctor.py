"""``asq-hw doctor``."""

from __future__ import annotations

import typer

from asq_hw.cli.options import FormatOption
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.doctor import Finding, examine

__all__ = ["doctor"]

COLUMNS = (
    Column(key="name", heading="name"),
    Column(key="status", heading="status"),
    Column(key="version", heading="version"),
    Column(key="enables", heading="enables"),
    Column(key="where", heading="where, or how to get it"),
)


def doctor(form: FormatOption = OutputFormat.TABLE) -> None:
    """Say what is installed, what a missing piece would enable, and how to install it."""
    findings = examine()
    rows = [_row(finding) for finding in findings]
    missing = [f.requirement.name for f in findings if f.requirement.required and not f.found]
    verdict = f"Missing: {', '.join(missing)}." if missing else "Everything needed is installed."
    notes = [verdict]
    show(
        Report(
            table=Table(columns=COLUMNS, rows=rows),
            document={"tools": [_entry(finding) for finding in findings]},
            notes=notes,
        ),
        form,
    )
    if missing:
        raise typer.Exit(1)


def _row(finding: Finding) -> dict[str, str | None]:
    wanted = finding.requirement
    absent = "MISSING" if wanted.required else "optional"
    return {
        "name": wanted.name,
        "status": "found" if finding.found else absent,
        "version": finding.version,
        "enables": wanted.enables,
        "where": finding.place or wanted.install,
    }


def _entry(finding: Finding) -> dict[str, str | bool | None]:
    wanted = finding.requirement
    return {
        "name": wanted.name,
        "kind": str(wanted.kind),
        "required": wanted.required,
        "found": finding.found,
        "version": finding.version,
        "path": finding.place,
        "enables": wanted.enables,
        "install": wanted.install,
    }
