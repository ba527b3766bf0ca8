"""What the figures of the examples have in common. Colours are Okabe and Ito's, told apart with any colour vision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

matplotlib.use("Agg")

__all__ = ["GREY", "INK", "PALETTE", "figure", "save"]

INK, GREY = "#222222", "#8a8a8a"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")

STYLE: dict[str, Any] = {
    "font.size": 12,
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "savefig.dpi": 110,
    "savefig.facecolor": "white",
}


def figure(title: str, x: str, y: str, width: float = 7.0, height: float = 5.0) -> tuple[Any, Any]:
    """A figure with one pair of axes."""
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(figsize=(width, height), layout="constrained")
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    return fig, axes


def save(fig: Any, path: Path) -> Path:
    """Write a figure, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        fig.savefig(path)
    plt.close(fig)
    return path
