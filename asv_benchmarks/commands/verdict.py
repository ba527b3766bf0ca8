"""When is a commit slower than another? Statistics, and nothing that measures.

On a virtual machine two runs of the same code differ for three reasons. Somebody else's work takes a core for milliseconds:
so each turn keeps its fastest sample, and a benchmark the median over turns. The whole machine drifts: so base and head take
turns, and each turn is compared with the other's beside it. And a process is fast or slow as a whole, by where its memory
lies (the same code has differed by a tenth): no number of turns within it helps, only other processes. So what looks slower
in one pair of processes is measured again in several fresh ones, and is slower only if it is so in every one of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["is_slower", "is_suspect", "ratio"]


def ratio(base: Sequence[float], head: Sequence[float]) -> float:
    """How many times as long head takes as base: the median over turns that lie side by side."""
    return statistics.median(_quotient(b, h) for b, h in zip(base, head))


def _quotient(base: float, head: float) -> float:
    if base == 0:  # a count
        return 1.0 if head == 0 else float("inf")
    return head / base


def halfway(factor: float) -> float:
    """Halfway from no change to the threshold."""
    return 1 + (factor - 1) / 2


def is_suspect(measured: float, factor: float) -> bool:
    """Whether the ratio of one pair of processes calls for more: it may have come out too small by chance."""
    return measured > halfway(factor)


def is_slower(measured: Sequence[float], factor: float) -> bool:
    """Whether the ratios of several fresh pairs agree that head is slower by more than `factor`."""
    return statistics.median(measured) > factor and min(measured) > halfway(factor)
