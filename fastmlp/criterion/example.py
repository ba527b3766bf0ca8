"""Outputs and targets that a loss takes, for whoever tries one out."""

from __future__ import annotations

import numpy as np

from fastmlp.criterion.criterion import Criterion

__all__ = ["example", "targets_for"]


def example(criterion: Criterion, rows: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets, drawn; of another width where the loss has numbers for each column."""
    held = {name: value for name, value in vars(criterion).items() if name != "constants"}  # the names of a formula's
    vectors = [value for value in held.values() if isinstance(value, tuple)]
    width = len(vectors[0]) if vectors else width * (1 + (criterion.outputs == "pairs"))
    out = rng.standard_normal((rows, width))
    if criterion.outputs in ("probabilities", "positive"):
        out = 1 / (1 + np.exp(-out))
    if criterion.outputs == "pairs":  # variances above the least one: below it the gradient is not that of the loss
        out[:, width // 2 :] = np.abs(out[:, width // 2 :]) + np.log(max(1.0, getattr(criterion, "eps", 1.0)))
    return out, targets_for(criterion, out, rng)


def targets_for(criterion: Criterion, out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Targets of the first kind that the loss takes, for these outputs."""
    kind, (rows, width) = criterion.targets[0], out.shape
    if kind == "labels":
        return rng.integers(width, size=(rows,))
    drawn = rng.standard_normal((rows, width // 2 if criterion.outputs == "pairs" else width))
    if kind == "signs":
        return np.where(drawn > 0, 1.0, -1.0)
    if kind == "counts":
        return np.floor(np.exp(drawn))
    if kind in ("probabilities", "distributions"):
        drawn = np.exp(drawn)
        return drawn / drawn.sum(axis=1, keepdims=True)
    return drawn
