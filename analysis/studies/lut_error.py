"""Error of the paper's rounded table (``post-lut``) beside the exact pair (``post-split``).

``python -m analysis.studies.lut_error [FIGURE]`` prints the table of docs/mac.md and
draws its figure.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.paper.figures import figure_file
from asq_hw.errors import InputError, check_range
from asq_hw.guard import guarded
from asq_hw.numbers.fixedpoint import sqrt2_times_pair
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import SPLIT_FRACTION_BITS, Product, ProductKind
from asq_hw.numbers.schemes import POST

__all__ = ["ErrorRow", "error_rows", "plot_errors"]

FRACTION_BITS = (0, 2, 4, 6)
LENGTHS = (9, 64, 576, 4608)
"""One 3 x 3 window, a 1 x 1 layer of 64 channels, 3 x 3 windows of 64 and of 512 channels."""
SUMS = 2000
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """Error of random dot products, in units of the smallest even weight times one activation step.

    Parameters
    ----------
    product : ProductKind
        ``post-split`` sums without error; its row holds what is left when the pair is joined to one
        integer, once for each output.
    fraction_bits : int
        Of a table entry, or of the joined integer.
    length : int
        Products in a sum.
    rms_error : float
        Root mean square over the drawn sums.
    largest_error : float
        Largest over the drawn sums.
    rms_relative : float
        `rms_error` over the root mean square of the exact sums.
    """

    product: ProductKind
    fraction_bits: int
    length: int
    rms_error: float
    largest_error: float
    rms_relative: float

    def as_dict(self) -> dict[str, str | int | float]:
        """Column names and values."""
        return asdict(self) | {"product": str(self.product)}


def error_rows(
    grid: Grid,
    activation_bits: int,
    *,
    fraction_bits: Sequence[int] = FRACTION_BITS,
    lengths: Sequence[int] = LENGTHS,
    sums: int = SUMS,
) -> list[ErrorRow]:
    """Errors over `sums` dot products of each length; codes and activations are drawn evenly.

    Parameters
    ----------
    grid : Grid
        Of the weights.
    activation_bits : int
        Width of the unsigned activations.
    fraction_bits : sequence of int
        Of a table's entries, a row for each.
    lengths : sequence of int
        Products of a dot product, a row for each.
    sums : int
        Dot products of each row.

    Raises
    ------
    InputError
        If the grid has no square root of two.
    """
    if not grid.uses_sqrt2:
        raise InputError(f"a rounded table is for post grids, not for {grid}")
    check_range("sums", sums, 1, 1 << 20)
    kinds = [
        *(Product(kind=ProductKind.POST_LUT, lut_fraction_bits=bits) for bits in fraction_bits),
        Product(),
    ]
    pairs = _pairs(grid, activation_bits)
    tables = [_table(grid, activation_bits, product) for product in kinds[:-1]]
    rows = []
    for length in lengths:
        even, odd, summed = _draw(pairs, tables, sums, length)
        exact = even + odd * math.sqrt(2)
        joined = [
            sqrt2_times_pair(e, o, SPLIT_FRACTION_BITS) for e, o in zip(even, odd, strict=True)
        ]
        for product, total in zip(kinds, [*summed, np.array(joined)], strict=True):
            bits = product.fraction_bits(grid)
            made = np.ldexp(total.astype(np.float64), -bits)
            rows.append(_row(product.kind, bits, length, made, exact))
    return rows


def _row(
    kind: ProductKind,
    fraction_bits: int,
    length: int,
    made: NDArray[np.float64],
    exact: NDArray[np.float64],
) -> ErrorRow:
    """How far the sums of one product and length are from the exact ones."""
    error = made - exact
    rms = math.sqrt(np.mean(error**2))
    return ErrorRow(
        product=kind,
        fraction_bits=fraction_bits,
        length=length,
        rms_error=rms,
        largest_error=float(np.abs(error).max()),
        rms_relative=rms / math.sqrt(np.mean(exact**2)),
    )


def _pairs(grid: Grid, activation_bits: int) -> NDArray[np.int64]:
    """Even and odd part of each product: (codes, activations, 2)."""
    weights = np.array(list(grid.decode_table().values()), dtype=np.int64)
    return weights[:, None, :] * np.arange(1 << activation_bits)[None, :, None]


def _table(grid: Grid, activation_bits: int, product: Product) -> NDArray[np.int64]:
    """The rounded product of each code and activation: (codes, activations)."""
    return np.array(
        [
            [product.lut_entry(activation, *pair) for activation in range(1 << activation_bits)]
            for pair in grid.decode_table().values()
        ],
        dtype=np.int64,
    )


def _draw(
    pairs: NDArray[np.int64], tables: Sequence[NDArray[np.int64]], sums: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[NDArray[np.int64]]]:
    """Even and odd sums of random products, and the same products' sums from each table."""
    random = np.random.default_rng([_SEED, length])
    codes, activations = pairs.shape[:2]
    sources = [pairs[..., 0], pairs[..., 1], *tables]
    totals = [np.empty(sums, dtype=np.int64) for _ in sources]
    for i in range(sums):
        drawn = random.integers(codes, size=length), random.integers(activations, size=length)
        for source, total in zip(sources, totals, strict=True):
            total[i] = source[drawn].sum()
    return totals[0], totals[1], totals[2:]


def plot_errors(rows: Sequence[ErrorRow], path: str | Path) -> None:
    """Draw the error over the dot product's length, a line for each table width.

    Parameters
    ----------
    rows : sequence of ErrorRow
        What `error_rows` returned.
    path : str or Path
        Ends in .png, .svg or .pdf.
    """
    lines: dict[tuple[ProductKind, int], list[ErrorRow]] = {}
    for row in rows:
        lines.setdefault((row.product, row.fraction_bits), []).append(row)
    with figure_file(path, width=7.2, height=3.2) as figure:
        axes = figure.subplots()
        shades = iter(("#7F2704", "#D94801", "#FD8D3C", "#FDBE85"))
        for (kind, bits), points in lines.items():
            exact = kind is ProductKind.POST_SPLIT
            label = (
                f"post-split, joined with {bits} fraction bits"
                if exact
                else f"post-lut, {bits} fraction bits"
            )
            axes.loglog(
                [row.length for row in points],
                [row.rms_error for row in points],
                marker="o",
                markersize=4,
                linestyle="--" if exact else "-",
                color="#0072B2" if exact else next(shades),
                label=label,
            )
        lengths = sorted({row.length for row in rows})
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set_xlabel("products in the sum")
        axes.set_ylabel("RMS error (units of the last place)")
        axes.spines["left"].set_visible(True)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))


def main(arguments: Sequence[str]) -> int:
    """Print the table as Markdown; draw the figure into the file that is the only argument."""
    if len(arguments) > 1:
        print("usage: python -m analysis.studies.lut_error [FIGURE]", file=sys.stderr)
        return 2
    rows = error_rows(Grid(scheme=POST, bits=4), 4)
    print("| product | fraction bits | length | RMS error | largest error | RMS error / RMS sum |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row.product} | {row.fraction_bits} | {row.length} | {row.rms_error:.4f} "
            f"| {row.largest_error:.4f} | {row.rms_relative:.2%} |"
        )
    if arguments:
        plot_errors(rows, arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.lut_error", lambda: main(sys.argv[1:])))
