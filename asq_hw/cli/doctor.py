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
    """Say what is installed and works, what a missing piece would enable, and how to install it.

    Hardware tools do a tiny job each, to show that they work. Exit status 1 if something is missing
    that nothing works without, or if a tool is there and does not work.
    """
    findings = examine()
    rows = [_row(finding) for finding in findings]
    missing = [f.requirement.name for f in findings if f.requirement.required and not f.found]
    verdict = f"Missing: {', '.join(missing)}." if missing else "Everything needed is installed."
    broken = [finding for finding in findings if finding.found and not finding.works]
    notes = [verdict, *map(_complaint, broken)]
    show(
        Report(
            table=Table(columns=COLUMNS, rows=rows),
            document={"tools": [_entry(finding) for finding in findings]},
            notes=notes,
        ),
        form,
    )
    if missing or broken:
        raise typer.Exit(1)


def _complaint(finding: Finding) -> str:
    assert finding.problem is not None
    name, problem = finding.requirement.name, finding.problem
    return f"{name} does not work: {problem.text}. To mend it: {problem.mend}"


def _row(finding: Finding) -> dict[str, str | None]:
    wanted = finding.requirement
    absent = "MISSING" if wanted.required else "optional"
    return {
        "name": wanted.name,
        "status": ("found" if finding.works else "BROKEN") if finding.found else absent,
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
        "works": finding.works,
        "problem": finding.problem.text if finding.problem else None,
        "mend": finding.problem.mend if finding.problem else None,
        "version": finding.version,
        "path": finding.place,
        "enables": wanted.enables,
        "install": wanted.install,
    }
