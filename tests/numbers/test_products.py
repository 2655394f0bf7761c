from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import SPLIT_FRACTION_BITS, Product, ProductKind
from asq_hw.numbers.schemes import POST, POT

POST = Grid(scheme=POST, bits=4)
POT = Grid(scheme=POT, bits=4)


def lut(fraction_bits: int) -> Product:
    return Product(kind=ProductKind.POST_LUT, lut_fraction_bits=fraction_bits)


def test_the_default_is_exact() -> None:
    assert Product().kind is ProductKind.POST_SPLIT


def test_a_kind_can_be_given_by_name() -> None:
    assert Product(kind="post-lut").kind is ProductKind.POST_LUT  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "lut"}, "product must be one of post-split, post-lut, post-dual, not 'lut'"),
        ({"lut_fraction_bits": 16}, r"LUT fraction bits must be an integer in 0\.\.15, not 16"),
        ({"lut_fraction_bits": -1}, r"LUT fraction bits must be an integer in 0\.\.15, not -1"),
        ({"lut_fraction_bits": 1.5}, r"LUT fraction bits must be an integer in 0\.\.15, not 1.5"),
        ({"lut_fraction_bits": True}, r"LUT fraction bits must be an integer in 0\.\.15, not True"),
    ],
)
def test_a_product_that_does_not_exist_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Product(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("product", "grid", "uses_lut", "fraction_bits"),
    [
        (Product(), POST, False, SPLIT_FRACTION_BITS),
        (Product(lut_fraction_bits=7), POST, False, SPLIT_FRACTION_BITS),
        (lut(0), POST, True, 0),
        (lut(7), POST, True, 7),
        (lut(7), POT, False, 0),
        (Product(kind=ProductKind.POST_DUAL, lut_fraction_bits=7), POST, False, 0),
        (Product(kind=ProductKind.POST_DUAL), POT, False, 0),
        (Product(), POT, False, 0),
    ],
)
def test_fraction_bits_of_the_dot_product(
    product: Product, grid: Grid, uses_lut: bool, fraction_bits: int
) -> None:
    assert product.uses_lut(grid) is uses_lut
    assert product.fraction_bits(grid) == fraction_bits


@pytest.mark.parametrize(
    ("fraction_bits", "activation", "even", "odd", "expected"),
    [
        (0, 5, 8, 0, 40),
        (0, 5, 0, 4, 28),  # 28.28
        (0, 1, 0, 4, 6),  # 5.66
        (0, -1, 0, 4, -6),
        (2, 5, 0, 4, 113),  # 113.14
        (2, -3, 8, 0, -96),
    ],
)
def test_entries_by_hand(
    fraction_bits: int, activation: int, even: int, odd: int, expected: int
) -> None:
    assert lut(fraction_bits).lut_entry(activation, even, odd) == expected


@given(
    fraction_bits=st.integers(0, 15),
    activation=st.integers(-128, 255),
    shift=st.integers(0, 31),
    sign=st.sampled_from([-1, 1]),
)
def test_an_odd_entry_is_the_nearest_integer(
    fraction_bits: int, activation: int, shift: int, sign: int
) -> None:
    odd = sign << shift
    with localcontext(prec=60):
        exact = Decimal(odd * activation * 2**fraction_bits) * Decimal(2).sqrt()
        nearest = int(exact.to_integral_value(rounding=ROUND_HALF_UP))
    assert lut(fraction_bits).lut_entry(activation, 0, odd) == nearest
