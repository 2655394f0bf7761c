"""A mapped netlist: its nets by number, what drives them, and what they have to load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Netlist"]

Pin = tuple[str, str]
"""A cell's type and its pin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Netlist:
    """What Yosys' ``write_json`` says of a flat module.

    Parameters
    ----------
    nets : mapping of list
        Numbers of the bits of each name, the lowest first; constants are texts.
    driven_by : mapping
        The pin that drives a net.
    loads : mapping of list
        The pins that it drives.
    """

    nets: Mapping[str, list[int | str]]
    driven_by: Mapping[int, Pin] = field(default_factory=dict)
    loads: Mapping[int, list[Pin]] = field(default_factory=dict)

    @staticmethod
    def of(document: Mapping[str, Any], top: str) -> Netlist:
        """The module `top` of a document."""
        module = document["modules"][top]
        driven_by: dict[int, Pin] = {}
        loads: dict[int, list[Pin]] = {}
        for cell in module["cells"].values():
            for pin, bits in cell["connections"].items():
                is_output = cell["port_directions"][pin] == "output"
                for place, bit in enumerate(bits):
                    if not isinstance(bit, int):
                        continue
                    name = (cell["type"], pin if len(bits) == 1 else f"{pin}[{place}]")
                    if is_output:
                        driven_by[bit] = name
                    else:
                        loads.setdefault(bit, []).append(name)
        # A backslash stands before what would look like a name made up by Yosys.
        nets = {name.lstrip("\\"): list(net["bits"]) for name, net in module["netnames"].items()}
        return Netlist(nets=nets, driven_by=driven_by, loads=loads)

    def load(self, net: int, weight: Callable[[Pin], float]) -> float:
        """What all pins weigh that a net drives."""
        return sum(weight(pin) for pin in self.loads.get(net, ()))
