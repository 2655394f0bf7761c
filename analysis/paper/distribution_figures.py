"""Figures of what quantization does to weights and activations, drawn from measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.paper.figures import figure_file
from analysis.paper.measured import ORIGIN
from asq_hw.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["DRAW", "beta_table", "read_frame"]

# Okabe and Ito's palette again: the first network of a figure is quiet, the others are not.
_COLORS = ("#4D4D4D", "#0072B2", "#D55E00", "#009E73")
_BEFORE = "#C8C8C8"


def read_frame(path: str | Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a measurement.

    Parameters
    ----------
    path : str or Path
        The CSV.
    columns : sequence of str
        What it must have beside `ORIGIN`; then it must have lines, too.

    Raises
    ------
    InputError
        If there is no such CSV, it is none, lacks a column, or its lines are of several data sets
        or starts.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(ORIGIN, str))  # digests may be all digits
    except (OSError, ValueError) as error:
        raise InputError(f"measurement {path} could not be read: {error}") from None
    _require(frame, *ORIGIN)
    for key in ("dataset", "start"):
        found = ["unknown" if pd.isna(value) else str(value) for value in frame[key].unique()]
        if len(found) > 1:
            raise InputError(f"measurement {path} must be of one {key}, not of {', '.join(found)}")
    if columns and (frame.empty or any(column not in frame for column in columns)):
        raise InputError(f"measurement {path} must have the columns {', '.join(columns)}")
    return frame


def draw_weights(frame: pd.DataFrame, path: str | Path) -> None:
    """Draw one layer's weights before and after quantization, a panel for each network."""
    _require(frame, "method", "part", "value", "share")
    methods = list(dict.fromkeys(frame["method"]))
    with figure_file(path, width=7.2, height=0.6 + 1.25 * len(methods)) as figure:
        panels = figure.subplots(len(methods), 1, sharex=True, squeeze=False)[:, 0]
        for axes, method, color in zip(panels, methods, _cycle(methods), strict=True):
            own = frame[frame["method"] == method]
            _draw_before_after(axes, own, color)
            axes.set_title(method, loc="left")
            axes.set_yticks([])
        panels[-1].set_xlabel("weight")
        _legend_before_after(panels[0], _cycle(methods)[0])


def draw_activations(frame: pd.DataFrame, path: str | Path) -> None:
    """Draw one layer's input for each image (columns) before and after each network (rows)."""
    _require(frame, "method", "image", "part", "value", "share", "step")
    methods, images = (list(dict.fromkeys(frame[key])) for key in ("method", "image"))
    with figure_file(path, width=7.2, height=0.7 + 1.45 * len(methods)) as figure:
        panels = figure.subplots(len(methods), len(images), sharex=True, squeeze=False)
        colors = _cycle(methods)
        for i, method in enumerate(methods):
            for j, image in enumerate(images):
                axes = panels[i, j]
                own = frame[(frame["method"] == method) & (frame["image"] == image)]
                _draw_before_after(axes, own, colors[i])
                axes.set_yticks([])
                zeros = own[(own["part"] == "after") & (own["value"] == 0)]["share"].sum()
                step = float(own["step"].iloc[0])
                head = f"image {image}\n" if i == 0 else ""
                axes.set_title(f"{head}step {step:.3g}, {zeros:.0%} zeros", fontsize=8)
            panels[i, 0].set_ylabel(method.replace(", ", "\n"))
        for axes in panels[-1]:
            axes.set_xlabel("activation")
        _legend_before_after(panels[0, -1], colors[0])


def draw_blocks(frame: pd.DataFrame, path: str | Path) -> None:
    """Draw the error of each block's output, against the start and against the network itself."""
    _require(frame, "method", "block", "against", "mean", "deviation")
    titles = {"start": "against the network it started from", "itself": "against itself, unrounded"}
    methods = list(dict.fromkeys(frame["method"]))
    with figure_file(path, width=7.2, height=2.9) as figure:
        panels = figure.subplots(1, len(titles), sharey=True)
        for axes, (against, title) in zip(panels, titles.items(), strict=True):
            for i, (method, color) in enumerate(zip(methods, _cycle(methods), strict=True)):
                own = frame[(frame["method"] == method) & (frame["against"] == against)]
                place = own["block"] + 0.12 * (i - (len(methods) - 1) / 2)
                axes.errorbar(
                    place,
                    own["mean"],
                    yerr=own["deviation"],
                    color=color,
                    marker="o",
                    markersize=4,
                    linewidth=1.2,
                    elinewidth=0.8,
                    label=method,
                )
            axes.set_title(title)
            axes.set_xlabel("block")
            axes.set_xticks(sorted(set(frame["block"])))
            axes.spines["left"].set_visible(True)
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("L2 error / L2 norm")
        panels[0].legend(frameon=False, loc="upper left")


def draw_layers(frame: pd.DataFrame, path: str | Path) -> None:
    """Draw rounding and clipping errors at the input of each layer."""
    _require(frame, "method", "layer", "error", "mean", "deviation")
    methods, layers = (list(dict.fromkeys(frame[key])) for key in ("method", "layer"))
    height = 0.8 / len(methods)
    with figure_file(path, width=7.2, height=0.9 + 0.2 * len(layers)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, error in zip(panels, ("rounding", "clipping"), strict=True):
            for i, (method, color) in enumerate(zip(methods, _cycle(methods), strict=True)):
                own = frame[(frame["method"] == method) & (frame["error"] == error)]
                places = [layers.index(layer) for layer in own["layer"]]
                axes.barh(
                    [place + height * (i - (len(methods) - 1) / 2) for place in places],
                    own["mean"],
                    xerr=own["deviation"],
                    height=height,
                    color=color,
                    error_kw={"elinewidth": 0.7, "ecolor": "#808080"},
                    label=method,
                )
            axes.set_xlabel(f"{error} error")
            axes.set_xlim(left=0)
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(layers)), layers)
        panels[0].set_ylim(len(layers) - 0.4, -0.6)
        # Above the panels: bars and their deviations leave no room inside.
        panels[1].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
        figure.supxlabel("L2 norm of the error over L2 norm of the layer's input", fontsize=9)


def draw_beta(frame: pd.DataFrame, path: str | Path) -> None:
    """Draw the range of beta over the images for each adapter, a panel for each network."""
    _require(frame, "network", "layer", "least", "low", "median", "high", "most")
    frame = frame[frame["layer"] != "all"]
    networks, layers = (list(dict.fromkeys(frame[key])) for key in ("network", "layer"))
    with figure_file(path, width=7.2, height=0.9 + 0.17 * len(layers)) as figure:
        panels = figure.subplots(1, len(networks), sharex=True, sharey=True, squeeze=False)[0]
        for axes, network, color in zip(panels, networks, _cycle(networks), strict=True):
            own = frame[frame["network"] == network]
            places = [layers.index(layer) for layer in own["layer"]]
            axes.axvline(1, color=_BEFORE, linewidth=0.8, zorder=0)
            axes.hlines(places, own["least"], own["most"], color=color, linewidth=0.8)
            axes.hlines(places, own["low"], own["high"], color=color, linewidth=4, alpha=0.5)
            axes.plot(own["median"], places, "o", color=color, markersize=4)
            axes.set_title(network)
            axes.set_xlabel("\N{GREEK SMALL LETTER BETA}")
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(layers)), layers)
        panels[0].set_ylim(len(layers) - 0.4, -0.6)


DRAW: dict[str, Callable[[pd.DataFrame, str | Path], None]] = {
    "weights": draw_weights,
    "activations": draw_activations,
    "blocks": draw_blocks,
    "layers": draw_layers,
    "beta": draw_beta,
}
"""What draws each kind of measurement."""


def beta_table(frame: pd.DataFrame) -> str:
    """As Markdown how much beta moves in each network, and what its moving is worth."""
    _require(frame, "network", "layer", "mean", "deviation", "images", "correct", "changed")
    lines = [
        "| network | deviation of β over the images, over its mean: least, median, most layer "
        "| top-1 | with each β held at its mean | predictions changed |",
        "|---|--:|--:|--:|--:|",
    ]
    for network in dict.fromkeys(frame["network"]):
        own = frame[frame["network"] == network]
        adapters = own[own["layer"] != "all"]
        moves = adapters["deviation"] / adapters["mean"]
        spread = ", ".join(f"{value:.1%}" for value in (moves.min(), moves.median(), moves.max()))
        (total,) = own[own["layer"] == "all"].to_dict("records")
        shares = (
            total[key] / total["images"] for key in ("correct", "correct_constant", "changed")
        )
        lines.append(f"| {network} | {spread} | {' | '.join(f'{s:.2%}' for s in shares)} |")
    return "\n".join(lines) + "\n"


def _require(frame: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in frame]
    if missing or frame.empty:
        raise InputError(f"the measurement must have lines and columns {', '.join(columns)}")


def _cycle(names: list[str]) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(len(names))]


def _draw_before_after(axes: Axes, own: pd.DataFrame, color: str) -> None:
    """Draw a histogram, a stem for each level in use and a tick for each level.

    Each is scaled to its largest share beside zero: a ReLU's zeros would dwarf all others.
    """
    before, after = (own[own["part"] == part] for part in ("before", "after"))
    width = float(before["value"].diff().median())
    for part in (before, after):
        beside = part[part["value"].abs() > 0.75 * width]
        height = part["share"] / beside["share"].max()
        if part is before:
            axes.bar(part["value"], height, width=width, color=_BEFORE)
        else:
            axes.vlines(part["value"], 0, height, color=color, linewidth=1.6)
    axes.plot(
        after["value"], [0] * len(after), "|", color=color, markersize=7, clip_on=False, zorder=3
    )
    axes.set_ylim(0, 1.08)


def _legend_before_after(axes: Axes, color: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(color=_BEFORE, label="before"),
        Line2D([], [], color=color, linewidth=1.6, label="after"),
    ]
    axes.legend(handles=handles, frameon=False, loc="upper right")
