"""``asq-hw levels``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.options import FormatOption, choose, integer
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS, Grid
from asq_hw.numbers.schemes import SCHEMES, scheme_named

if TYPE_CHECKING:
    from analysis.cost.levels import LevelRow

__all__ = ["levels"]

COLUMNS = (
    Column(key="code", heading="code"),
    Column(key="binary", heading="bits"),
    Column(key="value", heading="value", form="+.6f"),
    Column(key="even", heading="even"),
    Column(key="odd", heading="odd"),
    Column(key="shift", heading="shift"),
)


def levels(
    scheme: Annotated[str, typer.Argument(metavar="|".join(SCHEMES), help="Family of the grid.")],
    bits: Annotated[
        int,
        typer.Option(
            "--bits", parser=integer, metavar="B", help=f"Width, {MIN_BITS} to {MAX_BITS}."
        ),
    ],
    grid: Annotated[
        str,
        typer.Option(
            "--encoding",
            "--grid",
            metavar="|".join(Encoding),
            help="Which of the 2^B + 1 levels of pot and post are kept.",
        ),
    ] = Encoding.PACKED,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", metavar="", help="Levels from zero up (uniform only).")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Also draw the grid beside those of the same width (.png, .svg, .pdf).",
        ),
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """List a quantization grid code by code, with exact values.

    A value is (even + odd * sqrt(2)) * 2^-shift in integers; alpha, the clipping threshold, is 1.
    """
    from analysis.cost.levels import level_rows

    chosen = Grid(
        scheme=scheme_named(scheme),
        bits=bits,
        signed=not unsigned,
        encoding=choose(Encoding, "grid", grid),
    )
    if plot is not None:
        from analysis.paper.figures import plot_grid

        plot_grid(chosen, plot)
    rows = level_rows(chosen)
    show(
        Report(
            headline=[
                f"{chosen.scheme} at {chosen.bits} bits, {chosen.encoding}: "
                f"{len(rows)} levels in {chosen.stored_bits} stored bits"
            ],
            table=Table(columns=COLUMNS, rows=[_table_row(row, chosen) for row in rows]),
            document={
                "scheme": str(chosen.scheme),
                "bits": chosen.bits,
                "signed": chosen.signed,
                "grid": str(chosen.encoding),
                "stored_bits": chosen.stored_bits,
                "codes": [row.as_dict() for row in rows],
            },
        ),
        form,
    )


def _table_row(row: LevelRow, grid: Grid) -> dict[str, int | float | str]:
    """A row with the code's bits as they are stored, for people."""
    return {**row.as_dict(), "binary": format(row.code, f"0{grid.stored_bits}b")}
