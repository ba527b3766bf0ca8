"""The figures of train_disc.py: the data, the predictions of a model, the loss curves.

All colours are from the palette of Okabe and Ito, which people with any colour vision can tell apart; labels differ in their
markers too.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from disc_models import DiscModel
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

matplotlib.use("Agg")

__all__ = ["draw_data", "draw_losses", "draw_predictions"]

CENTRE, RADIUS = (0.5, 0.5), 1 / math.sqrt(2 * math.pi)  # make_disc's own

INK, GREY = "#222222", "#8a8a8a"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INSIDE, OUTSIDE, WRONG = BLUE, ORANGE, INK
CURVES = (INK, VERMILION, BLUE, GREEN, SKY, PURPLE, ORANGE)

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 13.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.handletextpad": 0.3,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.3,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
}


def draw_data(path: Path, X: np.ndarray, y: np.ndarray) -> Path:
    """The points by label, and the disc's outline.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    X : ndarray, (N, 2)
        Points.
    y : ndarray, (N,)
        Their labels, 1 inside the disc.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _square()
        _scatter(axes, X, y, size=_size(len(X)), alpha=0.85)
        axes.add_patch(Circle(CENTRE, RADIUS, fill=False, color=INK, linewidth=1.6))
        axes.set_title(f"The disc, and {_count(len(X), 'point')} to learn it from")
        inside = int(y.sum())
        handles = [
            _dot(INSIDE, "o", f"inside ({inside})"),
            _dot(OUTSIDE, "D", f"outside ({len(y) - inside})"),
            Line2D([], [], color=INK, linewidth=1.6, label="the disc"),
        ]
        return _finish(figure, axes, handles, path)


def draw_predictions(
    path: Path, X: np.ndarray, y: np.ndarray, *, scores: Callable[[np.ndarray], np.ndarray], name: str
) -> Path:
    """What a model says about points it has not seen: its decision boundary, and where it is wrong.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    X : ndarray, (N, 2)
        Points.
    y : ndarray, (N,)
        Their labels, 1 inside the disc.
    scores : callable
        The model: points to scores of the two labels.
    name : str
        Its name.
    """
    predicted = scores(X).argmax(axis=1)
    wrong = predicted != y
    with matplotlib.rc_context(STYLE):
        figure, axes = _square()
        _regions(axes, scores)
        _scatter(axes, X[~wrong], predicted[~wrong], size=0.8 * _size(len(X)), alpha=0.5)
        axes.add_patch(Circle(CENTRE, RADIUS, fill=False, color=INK, linewidth=1.4, linestyle=(0, (5, 3))))
        _scatter(axes, X[wrong], predicted[wrong], size=30, alpha=1, zorder=4)
        axes.scatter(
            X[wrong, 0], X[wrong, 1], s=110, facecolors="none", edgecolors=WRONG, linewidths=1.5, zorder=5, clip_on=False
        )
        axes.set_title(f"“{name}” is wrong on {wrong.sum()} of {_count(len(X), 'new point')}")
        handles = [
            _dot(INSIDE, "o", "predicted inside"),
            _dot(OUTSIDE, "D", "predicted outside"),
            Line2D([], [], color=VERMILION, linewidth=2, label="learnt boundary"),
            Line2D([], [], color=INK, linewidth=1.4, linestyle=(0, (4, 2)), label="true circle"),
            Line2D([], [], marker="o", color="none", markerfacecolor="none", markeredgecolor=WRONG, markersize=10,
                   markeredgewidth=1.5, label="wrong"),
        ]  # fmt: skip
        return _finish(figure, axes, handles, path)


def draw_losses(path: Path, losses: Sequence[tuple[DiscModel, np.ndarray]]) -> Path:
    """The training loss of each model by epoch: the median over the seeds, and the half of the seeds around it.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    losses : sequence of (DiscModel, ndarray (seeds, epochs))
        A loss for each seed and epoch.
    """
    colours = [CURVES[i % len(CURVES)] for i in range(len(losses))]
    # Losses of different kinds are not to be compared: squared errors are dashed.
    lines = ["-" if model.loss == "CE" else "--" for model, _ in losses]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.6, 5))
        axes.set_title("Training loss", pad=28)
        axes.text(0, 1.03, _losses_note(losses), transform=axes.transAxes, fontsize=11, color="#555555")
        for (_, values), colour, line in zip(losses, colours, lines):
            _curve(axes, np.maximum(values, 1e-9), colour, line)  # a loss of zero has no place on a logarithmic axis
        _loss_axes(axes, epochs=losses[0][1].shape[1])
        _label_ends(
            axes, [(float(np.median(values[:, -1])), model.name, colour) for (model, values), colour in zip(losses, colours)]
        )
        return _save(figure, path)


def _curve(axes: Axes, values: np.ndarray, colour: str, line: str) -> None:
    """The median of (seeds, epochs) and the quartiles about it."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    epochs = np.arange(1, len(middle) + 1)
    marker = "o" if len(middle) == 1 else ""
    axes.fill_between(epochs, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(epochs, middle, color=colour, linewidth=1.7, linestyle=line, marker=marker, clip_on=False)


def _loss_axes(axes: Axes, epochs: int) -> None:
    """A logarithmic axis of losses in plain numbers, and one of whole epochs."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    minor = "{:.3g}" if high < 5 * low else ""  # where there are hardly any powers of ten to label
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda loss, _: minor.format(loss)))
    axes.set_xlim(0, epochs)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _losses_note(losses: Sequence[tuple[DiscModel, np.ndarray]]) -> str:
    """What the lines are."""
    kinds = {model.loss for model, _ in losses}
    lines = {
        ("CE", "MSE"): "Cross-entropy (dashed: mean squared error)",
        ("CE",): "Cross-entropy",
        ("MSE",): "Mean squared error",
    }[tuple(sorted(kinds))]
    seeds = len(losses[0][1])
    return lines + (f". Median of {seeds} seeds, and their middle half" if seeds > 1 else "")


def _square() -> tuple[Figure, Axes]:
    """Axes that show the unit square."""
    figure, axes = plt.subplots(figsize=(5.6, 6.2))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set_xticklabels(["0", "0.5", "1"])
    axes.set_yticklabels(["0", "0.5", "1"])
    return figure, axes


def _finish(figure: Figure, axes: Axes, handles: list[Line2D], path: Path) -> Path:
    """A legend below the axes, and the file."""
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.06), ncols=3, borderaxespad=0, borderpad=0)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    """Write the figure with a palette of 256 colours, which makes the file a third as large, and close it."""
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", bbox_inches="tight", pad_inches=0.15)
    plt.close(figure)
    with Image.open(pixels) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
    return path


def _scatter(axes: Axes, X: np.ndarray, labels: np.ndarray, *, size: float, alpha: float, zorder: float = 2) -> None:
    """Points inside as discs, points outside as diamonds."""
    for label, colour, marker in ((0, OUTSIDE, "D"), (1, INSIDE, "o")):
        area = size * (0.75 if marker == "D" else 1)
        chosen = X[labels == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=area, color=colour, marker=marker, alpha=alpha, linewidths=0, zorder=zorder)


def _regions(axes: Axes, scores: Callable[[np.ndarray], np.ndarray], cells: int = 401) -> None:
    """A tint where the model says inside and one where it says outside, and the line between them."""
    side = np.linspace(0, 1, cells)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)
    outside, inside = scores(grid).T
    margin = (inside - outside).reshape(cells, cells)
    axes.set_facecolor(_tint(OUTSIDE))
    if margin.max() > 0:
        axes.contourf(side, side, margin, levels=[0, max(margin.max(), 1e-6) * 1.01], colors=[_tint(INSIDE)], zorder=0)
    if margin.min() < 0 < margin.max():
        axes.contour(side, side, margin, levels=[0], colors=[VERMILION], linewidths=2, zorder=3)


def _tint(colour: str, strength: float = 0.13) -> tuple[float, float, float]:
    """The colour, mixed with white."""
    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(colour))
    return red, green, blue


def _dot(colour: str, marker: str, label: str) -> Line2D:
    """A legend's entry for points."""
    return Line2D([], [], color="none", marker=marker, markersize=7, markerfacecolor=colour, markeredgewidth=0, label=label)


def _size(points: int) -> float:
    """The area of a marker, so that many points don't cover each other."""
    return float(np.clip(18_000 / points, 1, 24))


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """A name at the end of each curve, moved up or down where two would touch: (loss, name, colour) of each."""
    transform = axes.get_yaxis_transform() + axes.transAxes.inverted()
    ends = sorted(ends)
    heights = [transform.transform((1, max(loss, 1e-9)))[1] for loss, *_ in ends]
    for height, place, (_, name, colour) in zip(heights, _apart(heights, gap=0.055), ends):
        axes.plot([1.005, 1.04], [height, place], color=colour, linewidth=0.8, transform=axes.transAxes, clip_on=False)
        axes.text(1.05, place, name, color=colour, va="center", transform=axes.transAxes, fontweight="bold")


def _apart(heights: Sequence[float], gap: float) -> np.ndarray:
    """Ascending heights, moved as little as may be so that neighbours are at least `gap` apart.

    Neighbours that would touch are spread about their mean, and again with the groups that this makes.
    """
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _span(groups[-1], gap)[0] - _span(groups[-2], gap)[1] < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return np.concatenate([np.mean(group) + gap * (np.arange(len(group)) - (len(group) - 1) / 2) for group in groups])


def _span(group: list[float], gap: float) -> tuple[float, float]:
    """The lowest and the highest place of a group."""
    half = gap * (len(group) - 1) / 2
    return float(np.mean(group)) - half, float(np.mean(group)) + half
