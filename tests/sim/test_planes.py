"""Planes of codes: what odd codes are above the others, whatever the step."""

from __future__ import annotations

import numpy as np
import pytest

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range, odd_step
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.sim.lowering.planes import difference_range, planes_of
from tests.helpers import networks

DUAL = Product(kind=ProductKind.POST_DUAL)


def _differences(grid: Grid, step: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """``qO - q`` of all values about which a code changes, and far beyond."""
    values = np.arange(-400 * step, 400 * step, max(1, step // 40))
    codes = [
        np.clip((2 * values + size) // (2 * size), *ends)
        for size, ends in (
            (odd_step(step), odd_code_range(grid)),
            (step, (grid.minimum, grid.maximum)),
        )
    ]
    return np.asarray(codes[0] - codes[1])


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_differences_stay_inside_their_range_and_in_a_byte(bits: int, signed: bool) -> None:
    grid = Grid(scheme=UNIFORM, bits=bits, signed=signed)
    least, most = difference_range(grid)
    assert most - least < 256
    found = [_differences(grid, step) for step in (*range(1, 40), 99, 101, 500, 997)]
    assert min(int(made.min()) for made in found) >= least
    assert max(int(made.max()) for made in found) <= most
    if not signed and bits == 4:
        # The step 2 becomes 1, so that a value of 21 has the codes 11 and 21.
        assert max(int(made.max()) for made in found) == 10


def test_planes_of_post_dual_by_hand() -> None:
    """Codes 7, 6 and 14 are 8, 4 and -4 times the square root of two; codes are 0 .. 15."""
    layer = networks.linear(
        [[7, 6, 14]], scheme="post", bits=4, activations=networks.quantizer(4, 3)
    )
    planes = planes_of(layer, DUAL)
    assert planes.weights.shape == (1, 1, 2, 3, 1, 1)
    assert planes.weights.reshape(2, 3).tolist() == [[8, 4, -4], [0, 4, -4]]
    assert planes.tables[0, :17].tolist() == [*range(16), 15]
    assert planes.tables[1, :13].tolist() == [*range(12), 11]
    assert planes.spans.tolist() == [15, 11]
