"""The drawing of architecture.md: rooms, who imports whom, and the journeys through them.

    python docs/architecture.py [docs/figures/architecture.svg]

Rooms and their order are those of the import contract in pyproject.toml, arrows are the imports of
the sources, and the journeys are the numbered lists of architecture.md.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
FIGURE = ROOT / "docs" / "figures" / "architecture.svg"
PACKAGES = ("asq_hw", "rtl", "analysis")
COLORS = ("#0072B2", "#D55E00", "#009E73")
QUIET = "#B0B0B0"

Center = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One stop of a journey: a definition in a file of the repository."""

    path: str
    name: str


def journeys(text: str) -> dict[str, list[Place]]:
    """Places of every journey by its title, from the page's numbered lists."""
    found: dict[str, list[Place]] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        stops = re.findall(r"^\d+\. \[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", section, re.MULTILINE)
        if stops:
            found[title] = [Place(path=path, name=name) for name, path in stops]
    return found


def floors() -> list[list[str]]:
    """Rooms of the import contract, the highest first; those of one floor stand side by side."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    return [layer.split(" : ") for layer in layers]


def room_of(module: str, rooms: list[str]) -> str | None:
    """The room that a module stands in."""
    inside = [room for room in rooms if module == room or module.startswith(f"{room}.")]
    return max(inside, key=len, default=None)


def imports(rooms: list[str]) -> Counter[tuple[str, str]]:
    """How often a module of one room imports one of another."""
    counted: Counter[tuple[str, str]] = Counter()
    for path in _sources():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        start = room_of(module, rooms)
        for target in set(_imported(path)):
            end = room_of(target, rooms)
            if start and end and start != end:
                counted[start, end] += 1
    return counted


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def draw(path: Path) -> None:
    """Write the drawing."""
    mpl.rcParams |= {"svg.hashsalt": "asq-hw", "svg.fonttype": "none", "font.size": 8}
    levels = floors()
    rooms = [room for floor in levels for room in floor]
    figure = Figure(figsize=(9.6, 1.05 * len(levels) + 0.8), layout="constrained")
    axes = figure.subplots()
    centers = _draw_rooms(axes, levels)
    _draw_imports(axes, centers, imports(rooms))
    _draw_journeys(axes, centers, rooms)
    axes.set(xlim=(0, 1), ylim=(-len(levels) - 0.1, 0.5))
    axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _draw_rooms(axes: Axes, levels: list[list[str]]) -> dict[str, Center]:
    centers = {}
    for row, floor in enumerate(levels):
        for column, room in enumerate(floor):
            center = ((column + 0.5) / len(floor), -float(row))
            centers[room] = center
            width = min(0.86 / len(floor), 0.34)
            box = FancyBboxPatch(
                (center[0] - width / 2, center[1] - 0.24),
                width,
                0.48,
                boxstyle="round,pad=0.01,rounding_size=0.02",
                facecolor="#F4F4F4",
                edgecolor="#606060",
                linewidth=0.8,
                zorder=2,
            )
            axes.add_patch(box)
            label = room.replace("asq_hw.", "asq_hw/").replace(".", "/")
            axes.text(
                center[0], center[1] + 0.06, label, ha="center", va="center", fontsize=9, zorder=5
            )
    return centers


def _draw_imports(
    axes: Axes, centers: dict[str, Center], counted: Counter[tuple[str, str]]
) -> None:
    for (start, end), count in counted.items():
        axes.add_patch(
            FancyArrowPatch(
                centers[start],
                centers[end],
                arrowstyle="-|>",
                mutation_scale=7,
                shrinkA=14,
                shrinkB=14,
                color=QUIET,
                linewidth=0.4 + 0.25 * min(count, 12) ** 0.5,
                alpha=0.6,
                zorder=1,
            )
        )


def _draw_journeys(axes: Axes, centers: dict[str, Center], rooms: list[str]) -> None:
    stops = journeys(PAGE.read_text(encoding="utf-8"))
    for number, ((title, places), color) in enumerate(zip(stops.items(), COLORS, strict=True)):
        points = []
        for place in places:
            room = room_of(place.path.removesuffix(".py").replace("/", "."), rooms)
            assert room is not None, place
            x, y = centers[room]
            points.append((x + 0.06 * (number - 1), y - 0.17))
        for index, (start, end) in enumerate(pairwise(points), start=1):
            if start != end:
                style = f"arc3,rad={0.12 + 0.03 * index}"
                axes.add_patch(
                    FancyArrowPatch(
                        start,
                        end,
                        connectionstyle=style,
                        arrowstyle="-|>",
                        mutation_scale=9,
                        color=color,
                        linewidth=1.3,
                        zorder=3,
                    )
                )
        axes.plot([], [], color=color, linewidth=2, label=title.replace("`", ""))
        axes.plot(*zip(*points, strict=True), "o", color=color, markersize=3.5, zorder=4)
    axes.legend(loc="lower center", ncols=len(stops), frameon=False, fontsize=9)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURE)
