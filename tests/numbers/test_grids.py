"""Quantization grids, against levels worked by hand from the papers' formulas."""

from fractions import Fraction
from itertools import pairwise, product

import pytest

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS, Grid
from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes import APOT, POST, POT, SYMMETRIC, UNIFORM

ALL_BITS = range(MIN_BITS, MAX_BITS + 1)
EXPONENTIAL = (POT, POST)
ALL_GRIDS = [
    *(Grid(scheme=UNIFORM, bits=b, signed=s) for b in ALL_BITS for s in (True, False)),
    *(Grid(scheme=s, bits=b) for s in (SYMMETRIC, APOT) for b in ALL_BITS),
    *(Grid(scheme=s, bits=b, encoding=e) for s in EXPONENTIAL for b in ALL_BITS for e in Encoding),
]


def exact(level: Level) -> tuple[Fraction, Fraction]:
    """The level as exact coordinates (a, b) of a + b * sqrt(2)."""
    scale = Fraction(1, 2**level.shift)
    return level.even * scale, level.odd * scale


def square(level: Level) -> tuple[Fraction, Fraction]:
    """The level's square as exact coordinates: (a + b r)^2 = a^2 + 2 b^2 + 2 a b r, r^2 = 2."""
    a, b = exact(level)
    return a * a + 2 * b * b, 2 * a * b


def sign(level: Level) -> int:
    """Sign of a level that has one part only, without a float."""
    assert level.even == 0 or level.odd == 0
    part = level.even + level.odd
    return (part > 0) - (part < 0)


def dyadics(grid: Grid) -> list[Fraction]:
    """The levels of a grid without sqrt(2), in rising order."""
    assert not grid.uses_sqrt2
    return sorted(exact(level)[0] for level in grid.levels)


def exponents_kept(bits: int, encoding: Encoding) -> list[int]:
    """Exponents n of the magnitudes base**-n in Eq. 3 and 17: 2**(bits - 1) - 1 down to 0."""
    published = list(range(2 ** (bits - 1)))
    return published[:-1] if encoding is Encoding.PACKED else published


# Eq. 1-2: integers times a step


def test_signed_uniform_levels_are_qn_to_qp_steps():
    grid = Grid(scheme=UNIFORM, bits=3)
    assert dyadics(grid) == [Fraction(q, 4) for q in (-4, -3, -2, -1, 0, 1, 2, 3)]
    assert (grid.minimum, grid.maximum) == (-4, 3)


def test_unsigned_uniform_levels_are_zero_to_qp_steps():
    grid = Grid(scheme=UNIFORM, bits=2, signed=False)
    assert dyadics(grid) == [Fraction(q, 4) for q in (0, 1, 2, 3)]
    assert (grid.minimum, grid.maximum) == (0, 3)


def test_uniform_codes_are_twos_complement():
    by_code = {level.code: level.even for level in Grid(scheme=UNIFORM, bits=3).levels}
    assert by_code == {0: 0, 1: 1, 2: 2, 3: 3, 4: -4, 5: -3, 6: -2, 7: -1}


def test_symmetric_codes_are_sign_and_magnitude():
    grid = Grid(scheme=SYMMETRIC, bits=3)
    by_code = {level.code: level.even for level in grid.levels}
    assert by_code == {0: 0, 1: 1, 2: 2, 3: 3, 5: -1, 6: -2, 7: -3}
    assert dyadics(grid) == [Fraction(q, 4) for q in (-3, -2, -1, 0, 1, 2, 3)]
    assert (grid.minimum, grid.maximum) == (-3, 3)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_symmetric_levels_are_those_of_uniform_but_the_lowest(bits):
    uniform, symmetric = (dyadics(Grid(scheme=s, bits=bits)) for s in (UNIFORM, SYMMETRIC))
    assert symmetric == uniform[1:]


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("signed", [True, False])
def test_uniform_bounds_at_every_width(bits, signed):
    grid = Grid(scheme=UNIFORM, bits=bits, signed=signed)
    integers = sorted(level.even for level in grid.levels)
    assert integers == list(range(grid.minimum, grid.maximum + 1))
    assert grid.maximum - grid.minimum + 1 == 2**bits
    assert grid.minimum == (-(2 ** (bits - 1)) if signed else 0)


# Eq. 3 and Eq. 17: powers of two and of its root


def test_published_pot_levels_at_3_bits():
    grid = Grid(scheme=POT, bits=3, encoding=Encoding.PAPER)
    magnitudes = [Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(1)]
    assert dyadics(grid) == [*(-m for m in reversed(magnitudes)), Fraction(0), *magnitudes]


def test_published_post_levels_at_3_bits():
    """Magnitudes 1, sqrt(2)/2, 1/2, sqrt(2)/4, written as (even, odd) over 2**shift."""
    grid = Grid(scheme=POST, bits=3, encoding=Encoding.PAPER)
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    magnitudes = [(Fraction(1), 0), (0, half), (half, 0), (0, quarter)]
    wanted = {(0, 0), *magnitudes, *((-a, -b) for a, b in magnitudes)}
    assert {exact(level) for level in grid.levels} == wanted


def test_post_codes_at_3_bits_packed():
    """Sign bit above a 2-bit index that grows with the magnitude; the smallest is dropped."""
    levels = {lv.code: (lv.even, lv.odd, lv.shift) for lv in Grid(scheme="post", bits=3).levels}
    assert levels == {
        0b000: (0, 0, 0),
        0b001: (1, 0, 1),
        0b010: (0, 1, 1),
        0b011: (1, 0, 0),
        0b101: (-1, 0, 1),
        0b110: (0, -1, 1),
        0b111: (-1, 0, 0),
    }


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("encoding", Encoding)
def test_post_squares_are_exact_powers_of_two(bits, encoding):
    """(sqrt(2)**-n)**2 is exactly 2**-n: no float is rounded on the way."""
    grid = Grid(scheme=POST, bits=bits, encoding=encoding)
    for wanted_sign in (1, -1):
        squares = sorted(square(lv) for lv in grid.levels if sign(lv) == wanted_sign)
        wanted = [(Fraction(1, 2**n), 0) for n in exponents_kept(bits, encoding)]
        assert squares == sorted(wanted)


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("encoding", Encoding)
def test_pot_magnitudes_are_exact_powers_of_two(bits, encoding):
    grid = Grid(scheme=POT, bits=bits, encoding=encoding)
    magnitudes = [Fraction(1, 2**n) for n in exponents_kept(bits, encoding)]
    zero = [] if encoding is Encoding.ZERO_FREE else [Fraction(0)]
    assert dyadics(grid) == sorted([*magnitudes, *(-m for m in magnitudes), *zero])


@pytest.mark.parametrize("scheme", EXPONENTIAL)
@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize(
    ("encoding", "extra_levels", "extra_bits"),
    [(Encoding.PACKED, -1, 0), (Encoding.PAPER, 1, 1), (Encoding.ZERO_FREE, 0, 0)],
)
def test_level_count_and_stored_bits(scheme, bits, encoding, extra_levels, extra_bits):
    grid = Grid(scheme=scheme, bits=bits, encoding=encoding)
    assert len(grid.levels) == 2**bits + extra_levels
    assert grid.stored_bits == bits + extra_bits


@pytest.mark.parametrize("scheme", EXPONENTIAL)
@pytest.mark.parametrize("encoding", [Encoding.PACKED, Encoding.PAPER])
def test_code_zero_is_zero(scheme, encoding):
    for bits in ALL_BITS:
        zeros = [
            level.code
            for level in Grid(scheme=scheme, bits=bits, encoding=encoding).levels
            if (level.even, level.odd) == (0, 0)
        ]
        assert zeros == [0]


@pytest.mark.parametrize("scheme", EXPONENTIAL)
def test_zero_free_has_no_zero_and_uses_every_code(scheme):
    for bits in ALL_BITS:
        levels = Grid(scheme=scheme, bits=bits, encoding=Encoding.ZERO_FREE).levels
        assert [level.code for level in levels] == list(range(2**bits))
        assert all(level.even or level.odd for level in levels)


def test_packed_drops_only_the_smallest_magnitude_of_paper():
    for scheme, bits in product(EXPONENTIAL, ALL_BITS):
        paper = Grid(scheme=scheme, bits=bits, encoding=Encoding.PAPER)
        packed = {exact(level) for level in Grid(scheme=scheme, bits=bits).levels}
        dropped = [level for level in paper.levels if exact(level) not in packed]
        by_magnitude = sorted(square(level)[0] for level in paper.levels if sign(level))
        assert [square(level)[0] for level in dropped] == by_magnitude[:2]


# APoT: sums of powers of two (arXiv:1909.13144)


def sums(*terms: tuple[int, ...]) -> list[Fraction]:
    """Sums of one choice from each term; a term offers 0 or 1/d for the d given."""
    choices = [(Fraction(0), *(Fraction(1, d) for d in term)) for term in terms]
    return sorted(sum(choice, Fraction(0)) for choice in product(*choices))


@pytest.mark.parametrize(
    ("bits", "terms"),
    [
        (3, [(2, 4, 8)]),
        (4, [(2, 4, 16), (8,)]),
        (5, [(2, 8, 32), (4, 16, 64)]),
        (6, [(2, 8, 64), (4, 16, 128), (32,)]),
        (7, [(2, 16, 128), (4, 32, 256), (8, 64, 512)]),
    ],
)
def test_apot_levels_are_the_published_sums(bits, terms):
    positive = sums(*terms)
    wanted = sorted({*positive, *(-level for level in positive)})
    assert dyadics(Grid(scheme=APOT, bits=bits)) == wanted


def test_apot_codes_at_4_bits():
    """Sign, two-bit field for {0, 1/2, 1/4, 1/16}, one bit for {0, 1/8}."""
    levels = {level.code: level for level in Grid(scheme=APOT, bits=4).levels}
    assert exact(levels[0b0_01_1])[0] == Fraction(5, 8)
    assert exact(levels[0b0_10_0])[0] == Fraction(1, 4)
    assert exact(levels[0b1_11_1])[0] == Fraction(-3, 16)
    assert 0b1_00_0 not in levels


# What every grid promises


@pytest.mark.parametrize("grid", ALL_GRIDS, ids=str)
def test_codes_and_values_are_unique_and_fit(grid):
    levels = grid.levels
    assert len({level.code for level in levels}) == len(levels)
    assert len({exact(level) for level in levels}) == len(levels)
    assert [level.code for level in levels] == sorted(level.code for level in levels)
    assert all(0 <= level.code < 2**grid.stored_bits for level in levels)
    assert all(level.shift >= 0 for level in levels)


@pytest.mark.parametrize("grid", [g for g in ALL_GRIDS if g.scheme is not UNIFORM], ids=str)
def test_nonuniform_grids_are_symmetric(grid):
    values = {exact(level) for level in grid.levels}
    assert values == {(-a, -b) for a, b in values}


@pytest.mark.parametrize("grid", ALL_GRIDS, ids=str)
def test_decode_table_is_the_levels_over_the_common_shift(grid):
    scale = Fraction(1, 2**grid.shift)
    decoded = {code: (e * scale, o * scale) for code, (e, o) in grid.decode_table().items()}
    assert decoded == {level.code: exact(level) for level in grid.levels}


@pytest.mark.parametrize("grid", ALL_GRIDS, ids=str)
def test_ordered_levels_rise_exactly(grid):
    """Ordered by sign(v) * v**2, which is exact, and holds every level once."""
    ordered = grid.ordered_levels
    keys = [sign(level) * square(level)[0] for level in ordered]
    assert all(a < b for a, b in pairwise(keys))
    assert {level.code for level in ordered} == {level.code for level in grid.levels}


@pytest.mark.parametrize("grid", ALL_GRIDS, ids=str)
def test_float_value_squares_to_the_exact_square(grid):
    for level in grid.levels:
        assert level.value**2 == pytest.approx(float(square(level)[0]), rel=1e-15)
        assert (level.value > 0) - (level.value < 0) == sign(level)


def test_only_post_from_2_bits_on_uses_sqrt2():
    assert [g for g in ALL_GRIDS if g.uses_sqrt2 and g.scheme is not POST] == []
    # 2 bits packed keeps 0 and +-1 only, so the first root appears with the wider sets.
    without = [(g.bits, g.encoding) for g in ALL_GRIDS if g.scheme is POST and not g.uses_sqrt2]
    assert without == [(2, Encoding.PACKED)]


# What cannot be built


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 17])
def test_bits_out_of_range(bits):
    with pytest.raises(InputError, match=rf"^bits must be 2\.\.8, not {bits}$"):
        Grid(scheme=POST, bits=bits)


@pytest.mark.parametrize("bits", [4.0, "4", None, True])
def test_bits_of_another_type(bits):
    with pytest.raises(InputError, match="bits must be an integer"):
        Grid(scheme=POST, bits=bits)


@pytest.mark.parametrize("scheme", [SYMMETRIC, POT, POST, APOT])
def test_only_uniform_can_be_unsigned(scheme):
    with pytest.raises(InputError, match=f"an unsigned grid must be uniform, not {scheme}"):
        Grid(scheme=scheme, bits=4, signed=False)


@pytest.mark.parametrize("scheme", [UNIFORM, SYMMETRIC, APOT])
@pytest.mark.parametrize("encoding", [Encoding.PAPER, Encoding.ZERO_FREE])
def test_encodings_are_for_exponential_grids(scheme, encoding):
    with pytest.raises(InputError, match=f"grid {encoding} is for pot and post, not for {scheme}"):
        Grid(scheme=scheme, bits=4, encoding=encoding)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match="uniform, symmetric, pot, post, apot, not 'posit'"):
        Grid(scheme="posit", bits=4)
    with pytest.raises(InputError, match="packed, paper, zero-free, not 'dense'"):
        Grid(scheme="post", bits=4, encoding="dense")


@pytest.mark.parametrize("scheme", [POT, POST, APOT])
def test_integer_bounds_are_for_grids_of_integers(scheme):
    grid = Grid(scheme=scheme, bits=4)
    with pytest.raises(InputError, match=f"not for {scheme}"):
        _ = grid.minimum
    with pytest.raises(InputError, match=f"not for {scheme}"):
        _ = grid.maximum


def test_names_are_taken_as_strings():
    assert Grid(scheme="post", bits=4, encoding="paper") == Grid(
        scheme=POST, bits=4, encoding=Encoding.PAPER
    )
