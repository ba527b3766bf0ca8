"""Markdown tables, and how numbers stand in them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["NOTHING", "markdown", "microseconds", "times_ours"]

NOTHING = "–"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its header; words in the first column, numbers, to the right, in the others."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = [[row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))] for row in rows]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])


def microseconds(value: float) -> str:
    """Three figures: ``2.80``, ``28.7``, ``287``, ``28,700``."""
    return f"{value:#.3g}" if value < 99.95 else f"{float(f'{value:.3g}'):,.0f}"


def times_ours(value: float, ours: float) -> str:
    """Microseconds, and how many times fastmlp's they are."""
    return f"{microseconds(value)} ({value / ours:.3g}×)"
