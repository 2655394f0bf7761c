"""What every design promises: names that Verilog takes, ports, stimulus."""

from __future__ import annotations

import numpy as np
import pytest

from asq_hw.errors import InputError
from rtl.design import Direction, Port
from rtl.identifiers import check_identifier
from tests.helpers.hardware import PlainMac


@pytest.mark.parametrize("name", ["mac", "a1", "Post_split_w4a4", "x" * 128])
def test_identifiers_that_every_tool_takes(name: str) -> None:
    assert check_identifier("a name", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "1a", "_a", "a-b", "a b", "a;b", "a\n", "x" * 129, "module", "Reg", "é", "a$b", "\\a"],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="a name must be a letter"):
        check_identifier("a name", name)


def port(width: int, *, signed: bool = False, values: tuple[int, ...] | None = None) -> Port:
    return Port(
        name="p", width=width, signed=signed, direction=Direction.IN, meaning="", values=values
    )


@pytest.mark.parametrize("width", [0, 65])
def test_a_port_has_a_width_that_int64_holds(width: int) -> None:
    with pytest.raises(InputError, match=f"must be 1..64, not {width}"):
        port(width)


def test_a_port_knows_its_range_and_values() -> None:
    assert (port(4).range, port(4, signed=True).range) == ((0, 15), (-8, 7))
    assert list(port(2, signed=True).legal_values) == [-2, -1, 0, 1]
    assert port(8, values=(3, 5)).legal_values == (3, 5)


def test_edges_are_the_ends_zero_and_the_powers_of_two() -> None:
    edges = port(8, signed=True).edges
    assert {-128, -127, -66, -64, -62, -1, 0, 1, 30, 34, 126, 127} <= set(edges)
    assert 100 not in edges
    assert port(8, values=(3, 77)).edges == (3,)
    assert port(8, values=(77, 78)).edges == (77, 78)


def test_random_values_are_legal_and_reach_the_edges() -> None:
    random = np.random.default_rng(0)
    wide = port(24, signed=True).random_values(random, 5000)
    assert wide.min() == -(1 << 23) and wide.max() == (1 << 23) - 1
    assert set(port(9, values=(1, 4, 300)).random_values(random, 100)) == {1, 4, 300}


def test_a_mac_is_tried_with_every_pair_and_long_sums() -> None:
    design = PlainMac(weight_bits=3, activation_bits=4)
    rows = design.stimulus(np.random.default_rng(0), 4096)
    alone = rows["start"] == 1
    pairs = set(zip(rows["weight"][alone], rows["activation"][alone], strict=True))
    assert len(pairs) >= 8 * 16 - 1
    begins = np.flatnonzero(rows["start"])
    assert np.diff(begins).max() >= 1024
    assert rows["start"][0] == 0
