"""The nearest level is found alike by cells and by binary search, at every tie."""

import pytest
import torch
from torch import Tensor

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT
from asq_hw.train.quantizers.levels import level_table, table_of

GRIDS = [
    *(
        Grid(scheme=scheme, bits=bits, encoding=encoding)
        for scheme in (POT, POST)
        for bits in (2, 3, 4, 5)
        for encoding in Encoding
    ),
    *(Grid(scheme=APOT, bits=bits) for bits in (2, 3, 4, 5, 6, 8)),
    Grid(scheme=POT, bits=6),
]


def around(points: Tensor) -> Tensor:
    """The points, and the numbers next to them on either side."""
    infinity = torch.tensor(torch.inf, dtype=points.dtype)
    return torch.cat([points, points.nextafter(infinity), points.nextafter(-infinity)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_cells_and_binary_search_agree(grid: Grid, dtype: torch.dtype) -> None:
    table = level_table(grid, torch.zeros((), dtype=dtype))
    drawn = torch.randn(5000, generator=torch.Generator().manual_seed(1), dtype=dtype)
    edges = torch.arange(-2048, 2049, dtype=dtype) / 1024
    extremes = torch.tensor([torch.inf, -torch.inf, 1e30, -1e30, 0.0, -0.0], dtype=dtype)
    ratio = torch.cat([drawn, around(table.midpoints), around(table.values), edges, extremes])
    found = table.nearest(ratio).long()
    assert torch.equal(found, torch.bucketize(ratio, table.midpoints))
    assert torch.equal(table.round(ratio), table.values[found])


def test_four_bits_are_looked_up_in_cells() -> None:
    four = [grid for grid in GRIDS if grid.bits == 4]
    assert all(level_table(grid, torch.zeros(())).digits is not None for grid in four)
    assert level_table(Grid(scheme=POT, bits=6), torch.zeros(())).digits is None


def test_what_is_not_a_number_still_gets_a_level() -> None:
    table = table_of(torch.tensor([-1.0, 0.0, 1.0]))
    assert table.round(torch.tensor([[torch.nan], [0.6]])).shape == (2, 1)


@pytest.mark.parametrize("bits", [4, 6], ids=["cells", "search"])
def test_levels_are_laid_out_like_the_weights(bits: int) -> None:
    """A convolution copies weights that lie in another order than its input's channels."""
    table = level_table(Grid(scheme=POT, bits=bits), torch.zeros(()))
    ratio = torch.randn(6, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    plain = table.round(ratio)
    for laid_out in (ratio.to(memory_format=torch.channels_last), ratio.transpose(0, 1)):
        found = table.round(laid_out)
        assert found.stride() == laid_out.stride()
        assert torch.equal(found, plain if found.shape == plain.shape else plain.transpose(0, 1))
