"""The picture of the sweep: a map of our time over the best peer's, with the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .cell import INPUTS, OUTPUTS, Cell
from .machine import cores, processor_name

__all__ = ["draw_sweep"]

#: From where fastmlp is faster to where a peer is: blue and orange of the palette of Okabe and Ito, which people with any
#: colour vision can tell apart; white where they are level.
FASTER, SLOWER = ["#00456E", "#0072B2", "#8CC3E2"], ["#F3BE7C", "#D55E00", "#7E3400"]
COLOURS = LinearSegmentedColormap.from_list("ratio", [*FASTER, "#FFFFFF", *SLOWER])

#: The colours go from one over this to this; what is beyond has the colour of the end.
MOST = 8

INK, GREY = "#222222", "#6f6f6f"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "savefig.dpi": 160,
    "svg.hashsalt": "sweep",  # the same names in every file
    "pdf.fonttype": 42,  # text stays text
    "savefig.facecolor": "white",
}


def draw_sweep(path: Path, found: Mapping[tuple[int, int], Cell]) -> None:
    """Write the picture.

    Parameters
    ----------
    path : Path
        Where to; what it ends in says which format.
    found : mapping
        By (rows, width), what was measured.
    """
    sizes, widths = sorted({size for size, _ in found}), sorted({width for _, width in found})
    with matplotlib.rc_context(STYLE):
        left, right, above, below = 1.35, 1.25, 0.95, 1.05  # inches around the map
        across, down = 1.25 * max(4, len(widths)), 0.62 * len(sizes)
        figure = Figure(figsize=(left + across + right, above + down + below))
        total_width, total_height = figure.get_size_inches()
        box = (left / total_width, below / total_height, across / total_width, down / total_height)
        axes = figure.add_axes(box)
        axes.set(xlim=(0, len(widths)), ylim=(0, len(sizes)))
        axes.invert_yaxis()
        colours = ScalarMappable(Normalize(-math.log2(MOST), math.log2(MOST)), COLOURS)
        for i, size in enumerate(sizes):
            for j, width in enumerate(widths):
                _draw_cell(axes, j, i, found.get((size, width)), colours)
        axes.set_xticks([j + 0.5 for j in range(len(widths))], [f"{width:,}" for width in widths])
        axes.set_yticks([i + 0.5 for i in range(len(sizes))], [f"{size:,}" for size in sizes])
        axes.tick_params(length=0, pad=6)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel(f"width of the two hidden layers of {INPUTS}-width-width-{OUTPUTS}", labelpad=8)
        axes.set_ylabel("rows in one call", labelpad=8)
        top = 1 - 0.36 / total_height
        figure.text(box[0], top, "predict: fastmlp's time over the fastest other library's", fontsize=13.5, va="center")
        named = f"{processor_name()}, {cores()} core{'s' if cores() > 1 else ''}, float32"
        figure.text(box[0], top - 0.29 / total_height, named, fontsize=10, color=GREY, va="center")
        peers = sorted({cell.peer for cell in found.values() if cell.peer})
        notes = "small: fastmlp's time, and the fastest other library" if peers else "small: fastmlp's time"
        if len(found) < len(sizes) * len(widths):
            notes += "; hatched: not measured, too long"
        figure.text(box[0], 0.22 / total_height, notes, fontsize=9, color=GREY, va="center")
        bar = figure.add_axes((box[0] + box[2] + 0.28 / total_width, box[1], 0.17 / total_width, box[3]))
        _draw_bar(figure, bar, colours)
        figure.savefig(path)


def _draw_cell(axes: Any, x: int, y: int, cell: Cell | None, colours: ScalarMappable) -> None:
    """A square with its number; an empty one where nothing was measured."""
    if cell is None:
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#F7F7F7", edgecolor="#D0D0D0", hatch="////", linewidth=0))
        axes.add_patch(Rectangle((x, y), 1, 1, fill=False, edgecolor="white", linewidth=2))
        return
    ratio = cell.ratio
    face = "#F0F0F0" if ratio is None else colours.to_rgba(math.log2(ratio))
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=face, edgecolor="white", linewidth=2))
    ink = "white" if ratio is not None and _is_dark(face) else INK
    if ratio is not None:
        axes.text(x + 0.5, y + 0.36, f"{ratio:.2f}", ha="center", va="center", color=ink, fontsize=12.5)
    small = _duration(cell.ours) + (f" · {cell.peer}" if cell.peer else "")
    axes.text(x + 0.5, y + 0.74, small, ha="center", va="center", color=ink, fontsize=7.2)


def _draw_bar(figure: Figure, bar: Any, colours: ScalarMappable) -> None:
    figure.colorbar(colours, cax=bar)
    powers = range(-int(math.log2(MOST)), int(math.log2(MOST)) + 1)
    bar.set_yticks(list(powers), [f"1/{2**-power}" if power < 0 else str(2**power) for power in powers])
    bar.tick_params(length=3, color=GREY, labelsize=10)
    bar.spines["outline"].set_visible(False)
    bar.set_title("slower", fontsize=9, color=GREY, pad=7)
    bar.set_xlabel("faster", fontsize=9, color=GREY, labelpad=7)


def _is_dark(colour: Any) -> bool:
    """Whether white can be read on it better than ink: by the luminance of WCAG 2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.22


def _duration(microseconds: float) -> str:
    """``1.2 µs``, ``83 µs``, ``4.1 ms``."""
    value, unit = (microseconds, "µs") if microseconds < 999.5 else (microseconds / 1e3, "ms")
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"
