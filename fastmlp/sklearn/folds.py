"""Which rows each network of a table holds out."""

from __future__ import annotations

import numpy as np

__all__ = ["folds_of"]


def folds_of(strata: np.ndarray, members: int, draws: np.random.Generator) -> list[np.ndarray]:
    """Which rows each member holds out: folds, in which each stratum has its share.

    The rows of a stratum are dealt out in a random order. A row that is alone in its stratum is held out by nobody.
    """
    count = len(strata)
    folds = members if 5 <= members <= 10 else 5 if members < 5 else 8
    folds = min(folds, count)
    result: list[np.ndarray] = []
    _, places, counts = np.unique(strata, return_inverse=True, return_counts=True)
    while len(result) < members:
        order = draws.permutation(count)
        order = order[np.argsort(places[order], kind="stable")]
        fold = np.empty(count, np.int64)
        fold[order] = np.arange(count) % folds
        for number in range(folds):
            held = (fold == number) & (counts[places] > 1)
            if held.all() or np.bincount(places[~held], minlength=len(counts)).min() == 0:
                held = np.zeros(count, bool)
            result.append(held)
    return result[:members]
