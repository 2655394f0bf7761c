"""What ASQ adds to a network: Eq. 10-16 and Table 1 of the paper, and a stricter count.

`Convention.PAPER` reproduces the paper's printed numbers, `Convention.STORED` counts what a chip
really holds and does; `analysis.cost.counts` says exactly what is in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from analysis.cost.counts import Counts, paper_counts, paper_total, stored_counts, stored_total
from analysis.cost.shapes import LayerShape, NetworkShape
from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, UNIFORM

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DEFAULT_BITS", "Convention", "LayerOverhead", "Overhead", "OverheadRow", "overhead"]

DEFAULT_BITS = (2, 3, 4, 8)
"""Widths of the paper's Table 1."""

UNQUANTIZED_BITS = 8
"""Width of weights and inputs of the first and last layer."""

Value = int | float | str | None


class Convention(StrEnum):
    """What is counted."""

    PAPER = "paper"
    """Adapter weights and operations against convolution weights and multiplications (Table 1)."""
    STORED = "stored"
    """Everything a chip holds and does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOverhead:
    """One layer's counts at one width."""

    layer: LayerShape
    counts: Counts

    def as_dict(self) -> dict[str, Value]:
        """Column names and values, for JSON and tables."""
        return {
            "layer": self.layer.name,
            "kind": self.layer.kind.value,
            "in_channels": self.layer.in_channels,
            "out_channels": self.layer.out_channels,
            "groups": self.layer.groups,
            "param_percent": float(self.counts.param_percent),
            "compute_percent": float(self.counts.compute_percent),
            **self.counts.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadRow:
    """A network's counts at one width.

    Attributes
    ----------
    bits : int or None
        Width of the quantized layers; None for a model file whose layers differ.
    counts : Counts
        Sums over the network.
    layers : tuple of LayerOverhead
        What they are the sums of.
    """

    bits: int | None
    counts: Counts
    layers: tuple[LayerOverhead, ...]

    @property
    def param_percent(self) -> Fraction:
        """Storage overhead, exact."""
        return self.counts.param_percent

    @property
    def compute_percent(self) -> Fraction:
        """Compute overhead, exact."""
        return self.counts.compute_percent

    def as_dict(self) -> dict[str, Value]:
        """Column names and values, for JSON and tables."""
        return {
            "bits": self.bits,
            "param_percent": float(self.param_percent),
            "compute_percent": float(self.compute_percent),
            **self.counts.as_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """The overhead of one network at several widths."""

    network: str
    convention: Convention
    rows: tuple[OverheadRow, ...]

    def records(self, *, per_layer: bool = False) -> list[dict[str, Value]]:
        """One flat dict for each width, or for each width and layer."""
        if not per_layer:
            return [row.as_dict() for row in self.rows]
        return [{"bits": row.bits, **layer.as_dict()} for row in self.rows for layer in row.layers]

    def as_dict(self, *, per_layer: bool = False) -> dict[str, object]:
        """What ``asq-hw overhead --format json`` prints; `layers` only where asked for."""
        result: dict[str, object] = {
            "network": self.network,
            "convention": self.convention.value,
            "rows": self.records(),
        }
        if per_layer:
            result["layers"] = self.records(per_layer=True)
        return result

    def to_frame(self, *, per_layer: bool = False) -> pd.DataFrame:
        """`records` as a pandas table."""
        import pandas as pd  # half a second that the command line does not need

        return pd.DataFrame(self.records(per_layer=per_layer))


def overhead(
    network: NetworkShape,
    *,
    bits: Sequence[int] | None = None,
    convention: Convention = Convention.PAPER,
    encoding: Encoding | None = None,
) -> Overhead:
    """Count what ASQ adds to a network.

    Parameters
    ----------
    network : NetworkShape
        From `analysis.cost.networks.find_network`.
    bits : sequence of int, optional
        Widths of the quantized layers, 2 to 8 each. By default 2, 3, 4 and 8; for a model file
        the widths it has.
    convention : Convention
        What is counted.
    encoding : Encoding, optional
        How POST levels are put into bits; ``paper`` stores one bit more for each weight. By
        default ``packed``; for a model file the encoding it has. The `paper` convention counts
        B bits whatever the encoding.

    Raises
    ------
    InputError
        If a width is out of range, or layers of different widths meet the `paper` convention.

    Examples
    --------
    >>> from analysis.cost.networks import find_network
    >>> (row,) = overhead(find_network("resnet18"), bits=[4]).rows
    >>> f"{float(row.param_percent):.2f}"  # the paper's Table 1
    '5.34'
    """
    convention = _convention(convention)
    if bits is not None and not bits:
        raise InputError("bits must name at least one width")
    has_weights = any(layer.weight_grid is not None for layer in network.layers)
    widths = bits if bits is not None else [None] if has_weights else DEFAULT_BITS
    return Overhead(
        network=network.name,
        convention=convention,
        rows=tuple(_row(network, width, convention, encoding) for width in widths),
    )


def _convention(name: str) -> Convention:
    try:
        return Convention(name)
    except ValueError:
        known = ", ".join(Convention)
        raise InputError(f"convention must be one of {known}, not {name!r}") from None


def _row(
    network: NetworkShape, bits: int | None, convention: Convention, encoding: Encoding | None
) -> OverheadRow:
    grids = [_weight_grid(layer, bits, encoding) for layer in network.layers]
    nominal = _nominal_bits(network, bits, grids)
    counts: list[Counts]
    total: Counts
    if convention is Convention.PAPER:
        if nominal is None:
            raise InputError(
                f"layers of {network.name} have different widths; the paper convention needs bits"
            )
        paper = [paper_counts(layer, nominal) for layer in network.layers]
        counts, total = [*paper], paper_total(paper, nominal)
    else:
        stored = [
            stored_counts(layer, grid.stored_bits, _activation_bits(layer, bits, grid))
            for layer, grid in zip(network.layers, grids, strict=True)
        ]
        counts, total = [*stored], stored_total(stored)
    layers = (
        LayerOverhead(layer=layer, counts=count)
        for layer, count in zip(network.layers, counts, strict=True)
    )
    return OverheadRow(bits=nominal, counts=total, layers=tuple(layers))


def _nominal_bits(network: NetworkShape, bits: int | None, grids: Sequence[Grid]) -> int | None:
    """The one width of the quantized layers, or None where there are several.

    A first and a last layer alone have no quantized ones between them, and no adapter: their
    width is what was asked for, or that of all such layers.
    """
    pairs = zip(network.layers, grids, strict=True)
    widths = {grid.bits for layer, grid in pairs if layer.quantized}
    if not widths:
        return UNQUANTIZED_BITS if bits is None else bits
    return widths.pop() if len(widths) == 1 else None


def _weight_grid(layer: LayerShape, bits: int | None, encoding: Encoding | None) -> Grid:
    """The layer's grid at the asked width; POST where the network has no weights yet."""
    own = layer.weight_grid
    if not layer.quantized:
        return own or Grid(scheme=UNIFORM, bits=UNQUANTIZED_BITS)
    if bits is None:
        assert own is not None, "a layer without weights has no width of its own"
        bits = own.bits
    if own is None:
        return Grid(scheme=POST, bits=bits, encoding=encoding or Encoding.PACKED)
    if not own.scheme.is_exponential:
        return Grid(scheme=own.scheme, bits=bits, signed=own.signed)
    return Grid(scheme=own.scheme, bits=bits, encoding=encoding or own.encoding)


def _activation_bits(layer: LayerShape, bits: int | None, grid: Grid) -> int:
    if layer.quantized and bits is not None:
        return bits
    return layer.activation_bits or grid.bits
