"""The figures of train_disc.py: the data, the predictions of a model, the loss curves.

All colours are from the palette of Okabe and Ito, which people with any colour vision can tell apart; labels differ in their
markers too, and curves of one colour in their dashes.
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
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

matplotlib.use("Agg")

__all__ = ["draw_data", "draw_ensemble", "draw_losses", "draw_predictions"]

CENTRE, RADIUS = (0.5, 0.5), 1 / math.sqrt(2 * math.pi)  # make_disc's own

INK, GREY = "#222222", "#8a8a8a"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INSIDE, OUTSIDE, WRONG = BLUE, ORANGE, INK
BLACK = "#000000"
CURVES = (INK, VERMILION, BLUE, GREEN, SKY, PURPLE, ORANGE)
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (5, 1.4, 1.2, 1.4)))

#: From outside to inside, and from agreement to none; pale, since lines are drawn on them.
SIDES = LinearSegmentedColormap.from_list("sides", ["#F3CE80", "white", "#80B8D8"])
DOUBT = LinearSegmentedColormap.from_list("doubt", ["white", "#E9C7DA", PURPLE, "#7A3B68"])

LOSSES = {"CE": "Cross-entropy", "MSE": "Mean squared error"}

LEAST = 1e-9  # a loss of zero has no place on a logarithmic axis
SMOOTH = 1 / 16  # of the epochs are one point of a smoothed curve

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
    "svg.hashsalt": "disc",  # the same names in every file
    "pdf.fonttype": 42,  # text stays text
    "savefig.facecolor": "white",
}


def draw_data(paths: Sequence[Path], X: np.ndarray, y: np.ndarray) -> list[Path]:
    """The points by label, and the disc's outline.

    Parameters
    ----------
    paths : sequence of Path
        The files to write.
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
        return _finish(figure, axes, handles, paths)


def draw_predictions(
    paths: Sequence[Path], X: np.ndarray, y: np.ndarray, *, scores: Callable[[np.ndarray], np.ndarray], name: str
) -> list[Path]:
    """What a model says about points it has not seen: its decision boundary, and where it is wrong.

    Parameters
    ----------
    paths : sequence of Path
        The files to write.
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
        axes.add_patch(_circle())
        _scatter(axes, X[wrong], predicted[wrong], size=30, alpha=1, zorder=4)
        axes.scatter(
            X[wrong, 0], X[wrong, 1], s=110, facecolors="none", edgecolors=WRONG, linewidths=1.5, zorder=5, clip_on=False
        )
        axes.set_title(f"“{name}” is wrong on {wrong.sum()} of {_count(len(X), 'test point')}")
        handles = [
            _dot(INSIDE, "o", "predicted inside"),
            _dot(OUTSIDE, "D", "predicted outside"),
            Line2D([], [], color=BLACK, linewidth=2, label="learnt boundary"),
            Line2D([], [], color=VERMILION, linewidth=1.4, linestyle=(0, (4, 2)), label="true circle"),
            Line2D([], [], marker="o", color="none", markerfacecolor="none", markeredgecolor=WRONG, markersize=10,
                   markeredgewidth=1.5, label="wrong"),
        ]  # fmt: skip
        return _finish(figure, axes, handles, paths)


def draw_ensemble(
    paths: Sequence[Path],
    learnt: tuple[np.ndarray, np.ndarray],
    tested: tuple[np.ndarray, np.ndarray],
    *,
    probabilities: Callable[[np.ndarray], np.ndarray],
    name: str,
) -> list[Path]:
    """What the networks of an ensemble say together, and how much they disagree.

    Parameters
    ----------
    paths : sequence of Path
        The files to write.
    learnt, tested : (ndarray (N, 2), ndarray (N,))
        The points that the networks were trained on, and others, with labels, 1 inside the disc.
    probabilities : callable
        Points to what each network takes for the probability that they are inside, (networks, points).
    name : str
        The model's name.
    """
    (X, y), (others, labels) = learnt, tested
    wrong = others[(probabilities(others).mean(axis=0) > 0.5) != labels]
    side, grid = _grid()
    each = probabilities(grid).reshape(-1, len(side), len(side))
    mean, spread = each.mean(axis=0), each.std(axis=0)
    with matplotlib.rc_context(STYLE):
        figure, both = plt.subplots(1, 2, figsize=(11.2, 7.1), gridspec_kw={"wspace": 0.2})
        for axes in both:
            _unit_square(axes)
        left, right = both
        shown = left.contourf(side, side, mean, levels=np.linspace(0, 1, 11), cmap=SIDES, zorder=0)
        for network in each:
            _boundary(left, side, network, colors=[INK], linewidths=0.7, alpha=0.45, zorder=2.5)
        _boundary(left, side, mean, colors=[BLACK], linewidths=2.2, zorder=3)
        left.add_patch(_circle())
        left.scatter(*wrong.T, s=60, facecolors="none", edgecolors=WRONG, linewidths=1.5, zorder=5, clip_on=False)
        left.set_title(f"{len(each)} networks “{name}” together")
        _bar(figure, left, shown, "mean probability of “inside”", [0, 0.5, 1])
        shown = right.contourf(side, side, spread, levels=np.linspace(0, 0.5, 11), cmap=DOUBT, zorder=0)
        _scatter(right, X, y, size=0.7 * _size(len(X)), alpha=0.6)
        right.set_title("Where they disagree")
        _bar(figure, right, shown, "standard deviation of the probability", [0, 0.25, 0.5])
        handles = [
            Line2D([], [], color=BLACK, linewidth=2.2, label="boundary of all"),
            Line2D([], [], color=INK, linewidth=0.7, alpha=0.7, label="of each network"),
            Line2D([], [], color=VERMILION, linewidth=1.4, linestyle=(0, (4, 2)), label="true circle"),
            Line2D([], [], marker="o", color="none", markerfacecolor="none", markeredgecolor=WRONG, markersize=8,
                   markeredgewidth=1.5, label=f"wrong, {len(wrong)} of {_count(len(others), 'test point')}"),
        ]  # fmt: skip
        _legend(left, handles, ncols=2)
        inside = int(y.sum())
        dots = _dot(INSIDE, "o", f"learnt as inside ({inside})"), _dot(OUTSIDE, "D", f"learnt as outside ({len(y) - inside})")
        _legend(right, list(dots), ncols=1)
        return _save(figure, paths)


def _boundary(axes: Axes, side: np.ndarray, inside: np.ndarray, **style: Any) -> None:
    """Where a probability is one half, if it is anywhere."""
    if inside.min() < 0.5 < inside.max():
        axes.contour(side, side, inside, levels=[0.5], **style)


def _legend(axes: Axes, handles: list[Line2D], ncols: int) -> None:
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.31), ncols=ncols, borderaxespad=0, borderpad=0)


def _bar(figure: Figure, axes: Axes, shown: Any, label: str, ticks: list[float]) -> None:
    """A bar of colours below the axes."""
    bar = figure.colorbar(shown, ax=axes, orientation="horizontal", fraction=0.04, pad=0.09, aspect=32, ticks=ticks)
    bar.ax.set_xticklabels([f"{tick:g}" for tick in ticks])
    bar.set_label(label, labelpad=2)
    bar.outline.set_visible(False)


def draw_losses(paths: Sequence[Path], losses: Sequence[tuple[DiscModel, np.ndarray]]) -> list[Path]:
    """The training loss of each model by epoch: medians over the seeds, faint, and smoothed; a panel for each kind of loss.

    Parameters
    ----------
    paths : sequence of Path
        The files to write.
    losses : sequence of (DiscModel, ndarray (seeds, epochs))
        A loss for each seed and epoch.
    """
    kinds = [kind for kind in LOSSES if any(model.loss == kind for model, _ in losses)]
    styles = [_curve_style(i) for i in range(len(losses))]
    with matplotlib.rc_context(STYLE):
        widths = [7.4 if kind == "CE" or len(kinds) == 1 else 3.7 for kind in kinds]
        how: dict[str, Any] = {"squeeze": False, "width_ratios": widths, "gridspec_kw": {"wspace": 0.5}}
        figure, (row,) = plt.subplots(1, len(kinds), figsize=(sum(widths), 5.2), **how)
        for axes, kind in zip(row, kinds):
            drawn = [
                (model.name, np.median(values, axis=0), style)
                for (model, values), style in zip(losses, styles)
                if model.loss == kind
            ]
            axes.set_title(LOSSES[kind], fontsize=12)
            ends = [_curve(axes, np.maximum(values, LEAST), style) for _, values, style in drawn]
            _loss_axes(axes, epochs=losses[0][1].shape[1], ticks=6 if kind == kinds[0] else 3)
            _label_ends(axes, [(end, name, style["color"]) for end, (name, _, style) in zip(ends, drawn)])
        left, seeds = row[0].get_position().x0, len(losses[0][1])
        note = f"Faint: {'medians of ' * (seeds > 1)}{_count(seeds, 'seed')}. Bold: smoothed."
        figure.text(left, 1.02, "Training loss", fontsize=STYLE["axes.titlesize"])
        figure.text(left, 0.972, note, fontsize=11, color="#555555")
        return _save(figure, paths)


def _curve_style(number: int) -> dict[str, Any]:
    """Colour and dashes of a curve; colours that come again are dashed, and in another order."""
    cycle, place = divmod(number, len(CURVES))
    return {"color": CURVES[(place + 2 * cycle) % len(CURVES)], "linestyle": DASHES[cycle % len(DASHES)]}


def _curve(axes: Axes, values: np.ndarray, style: dict[str, Any]) -> float:
    """A curve, faint, and what it looks like smoothed; where that ends."""
    epochs = np.arange(1, len(values) + 1)
    marker = "o" if len(values) == 1 else ""
    smooth = smoothed(values, round(SMOOTH * len(values)))
    axes.plot(epochs, values, color=style["color"], linewidth=0.8, alpha=0.3, zorder=2)
    axes.plot(epochs, smooth, linewidth=1.9, marker=marker, clip_on=False, zorder=3, **style)
    return float(smooth[-1])


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """The geometric mean of `window` values about each.

    Of fewer at the beginning, as many on either side, since losses fall steeply there; at the end of those there are.
    """
    sums = np.concatenate([[0.0], np.cumsum(np.log(values))])
    places = np.arange(len(values))
    half = np.minimum(places, window // 2)
    first, last = places - half, np.minimum(places + half + 1, len(values))
    return np.exp((sums[last] - sums[first]) / (last - first))


def _loss_axes(axes: Axes, epochs: int, ticks: int) -> None:
    """A logarithmic axis of losses in plain numbers, and one of whole epochs."""
    losses = [loss for line in axes.get_lines() for loss in line.get_ydata()]
    if max(losses) < 1.001 * min(losses):  # the first of one epoch, perhaps
        axes.set_ylim(losses[0] / 2, losses[0] * 2)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    labelled = (1.0,) if decades > 4 else (1.0, 2.0, 5.0) if decades > 0.8 else tuple(map(float, range(1, 10)))
    axes.yaxis.set_major_locator(LogLocator(subs=labelled, numticks=100))
    axes.yaxis.set_minor_locator(LogLocator(subs=tuple(map(float, range(1, 10))), numticks=100))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:.10f}".rstrip("0").rstrip(".")))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=2)
    axes.set_xlim(0, epochs)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=ticks, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _square() -> tuple[Figure, Axes]:
    """Axes that show the unit square."""
    figure, axes = plt.subplots(figsize=(5.6, 6.2))
    _unit_square(axes)
    return figure, axes


def _circle() -> Circle:
    """The disc's outline, dashed."""
    return Circle(CENTRE, RADIUS, fill=False, color=VERMILION, linewidth=1.4, linestyle=(0, (5, 3)), zorder=3.5)


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set_xticklabels(["0", "0.5", "1"])
    axes.set_yticklabels(["0", "0.5", "1"])


def _finish(figure: Figure, axes: Axes, handles: list[Line2D], paths: Sequence[Path]) -> list[Path]:
    """A legend below the axes, and the files."""
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.06), ncols=3, borderaxespad=0, borderpad=0)
    return _save(figure, paths)


def _save(figure: Figure, paths: Sequence[Path]) -> list[Path]:
    """Write the figure in the formats that the paths end in, the same bytes every time, and close it.

    A PNG file gets a palette of 256 colours, which makes it a third as large.
    """
    size: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.15}
    for path in paths:
        if path.suffix == ".png":
            pixels = io.BytesIO()
            figure.savefig(pixels, format="png", **size)
            with Image.open(pixels) as image:
                image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
        else:
            figure.savefig(path, metadata={"CreationDate" if path.suffix == ".pdf" else "Date": None}, **size)
    plt.close(figure)
    return list(paths)


def _scatter(axes: Axes, X: np.ndarray, labels: np.ndarray, *, size: float, alpha: float, zorder: float = 2) -> None:
    """Points inside as discs, points outside as diamonds."""
    for label, colour, marker in ((0, OUTSIDE, "D"), (1, INSIDE, "o")):
        area = size * (0.75 if marker == "D" else 1)
        chosen = X[labels == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=area, color=colour, marker=marker, alpha=alpha, linewidths=0, zorder=zorder)


def _grid(cells: int = 401) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along a side of the square, and all points that have them."""
    side = np.linspace(0, 1, cells)
    return side, np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)


def _regions(axes: Axes, scores: Callable[[np.ndarray], np.ndarray]) -> None:
    """A tint where the model says inside and one where it says outside, and the line between them."""
    side, grid = _grid()
    outside, inside = scores(grid).T
    margin = (inside - outside).reshape(len(side), len(side))
    axes.set_facecolor(_tint(OUTSIDE))
    if margin.max() > 0:
        axes.contourf(side, side, margin, levels=[0, max(margin.max(), 1e-6) * 1.01], colors=[_tint(INSIDE)], zorder=0)
    if margin.min() < 0 < margin.max():
        axes.contour(side, side, margin, levels=[0], colors=[BLACK], linewidths=2, zorder=3)


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
